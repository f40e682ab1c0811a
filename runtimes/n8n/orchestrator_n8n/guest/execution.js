'use strict';
/** One execution as the guest sees it: its request, its limits, its usage, and the way to tell what happens. */

const { AgentError } = require('./errors');

const LOG_CHARACTERS = 4000;
const LOG_LINES = 1000;

/** As `orchestrator_runtimes.messages.Limits`, for a trusted side that leaves some out. */
const LIMITS = { steps: 50, tool_calls: 100, seconds: 600, tokens: null, output_bytes: 8 * 1024 * 1024 };

/** Stops an execution whose tools wait for people's decisions: no failure, but its end for now. */
class WaitsForDecision extends AgentError {
	constructor() {
		super('cancelled', 'the execution waits for a decision');
	}
}

/**
 * What the host asked for and what became of it.
 *
 * `stopping` is aborted when the execution must end: everything that waits for something listens to it.
 */
class Execution {
	/**
	 * @param {Record<string, any>} run The request.
	 * @param {import('./connection').Connection} connection
	 */
	constructor(run, connection) {
		this.run = run;
		this.limits = { ...LIMITS, ...run.limits };
		this.usage = {
			input_tokens: 0,
			output_tokens: 0,
			cached_tokens: 0,
			model_calls: 0,
			tool_calls: 0,
			unmetered_calls: 0,
		};
		/** @type {AgentError | null} Why it must end; null while it may go on. */
		this.stopped = null;
		/** @type {AgentError | null} The last fault of a model call that no later call made good. */
		this.modelFault = null;
		/** @type {Map<string, string>} Messages of tools that failed, by name. */
		this.failedTools = new Map();
		this.stopping = new AbortController();
		this._connection = connection;
		this._began = performance.now();
		this._faultEnded = 0;
		this._moments = 1;
		this._sequence = 0;
		this._logLines = 0;
		this._stateVersion = 0;
		/** @type {Map<string, number>} */
		this._steps = new Map();
		/** @type {object[]} The tool calls that wait for decisions. */
		this.requests = [];
		this._toolsRunning = 0;
		/** @type {(() => void)[]} */
		this._toolsEnded = [];
		const late = () => {
			const what = `the execution ran longer than its limit of ${this.limits.seconds} s`;
			this.stop(new AgentError('timeout', what));
		};
		this._clock = setTimeout(late, Math.min(this.limits.seconds * 1000, 2 ** 31 - 1));
	}

	/** Wall time since the start. */
	get seconds() {
		return (performance.now() - this._began) / 1000;
	}

	/** @param {AgentError} error Makes every further model and tool call fail; the first reason counts. */
	stop(error) {
		if (this.stopped !== null) return;
		this.stopped = error;
		this.stopping.abort(error);
	}

	/** Let go of the clock, and of everything that still waits. */
	end() {
		clearTimeout(this._clock);
		this.stop(new AgentError('cancelled', 'the execution is over'));
	}

	/** Throw when the execution must end. */
	check() {
		if (this.stopped !== null) throw this.stopped;
	}

	/** @returns {number} The call's moment, for `endModelCall`. */
	beginModelCall() {
		this.check();
		if (this.usage.model_calls >= this.limits.steps) {
			this._exceed('steps', 'model calls: the agent may be in a loop, or needs a higher limit');
		}
		this.usage.model_calls++;
		return this._moments++;
	}

	/**
	 * Account for the end of a model call and tell it.
	 *
	 * @param {number} began From `beginModelCall`.
	 * @param {{model: string, seconds: number, usage: Record<string, number> | null, error: AgentError | null}} call
	 *   `usage` is null when the endpoint told none, `error` when the answer was usable.
	 */
	async endModelCall(began, { model, seconds, usage, error }) {
		for (const [name, count] of Object.entries(usage ?? {})) this.usage[/** @type {'input_tokens'} */ (name)] += count;
		if (usage === null && error === null) this.usage.unmetered_calls++;
		if (error !== null) {
			this.modelFault = error;
			this._faultEnded = this._moments++;
		} else if (began > this._faultEnded) {
			this.modelFault = null;
		}
		if (error?.code === 'budget_exceeded') this.stop(error); // else a node that goes on after a fault asks again and again
		const tokens = this.usage.input_tokens + this.usage.output_tokens;
		if (this.limits.tokens !== null && tokens > this.limits.tokens) {
			this.stop(this._exceeded('tokens', `tokens: ${tokens} were used`));
		}
		await this.emit({
			kind: 'model_call',
			model,
			seconds,
			...(usage && { input_tokens: usage.input_tokens, output_tokens: usage.output_tokens }),
			...(error && { error: error.code }),
		});
	}

	/** @param {string} name Of the tool that is about to be called. */
	beginToolCall(name) {
		this.check();
		if (this.usage.tool_calls >= this.limits.tool_calls) {
			this._exceed('tool_calls', `tool calls, the next was '${name}'`);
		}
		this.usage.tool_calls++;
	}

	/**
	 * Tell that a tool call ended.
	 *
	 * @param {string} name
	 * @param {{seconds: number, error?: string | null, replayed?: boolean}} call `error` is null when it returned.
	 */
	async endToolCall(name, { seconds, error = null, replayed = false }) {
		if (error !== null) this.failedTools.set(name, error);
		const told = error === null ? {} : { error: error.slice(0, LOG_CHARACTERS) };
		await this.emit({ kind: 'tool_call', name, seconds, replayed, ...told });
	}

	/** @template T @param {() => Promise<T>} call Of a tool, which runs meanwhile. @returns {Promise<T>} */
	async running(call) {
		this._toolsRunning++;
		try {
			return await call();
		} finally {
			this._toolsRunning--;
			this._look();
		}
	}

	/**
	 * End the execution as interrupted, once the tools that run beside the one that asks have ended and are recorded.
	 *
	 * @param {object[]} requests What it waits for. @returns {Promise<never>}
	 */
	async waitForDecision(requests) {
		this.requests.push(...requests);
		this._look();
		while (this._toolsRunning > this.requests.length && this.stopped === null) {
			await new Promise((resolve) => this._toolsEnded.push(() => resolve(null)));
		}
		this.stop(new WaitsForDecision());
		throw this.stopped;
	}

	/** Let those look again that wait for tools. */
	_look() {
		for (const look of this._toolsEnded.splice(0)) look();
	}

	/** @param {string} step @returns {number} How often it was asked for before in this execution. */
	nextOccurrence(step) {
		const occurrence = this._steps.get(step) ?? 0;
		this._steps.set(step, occurrence + 1);
		return occurrence;
	}

	/** @param {Record<string, unknown>} event Tells it; waits while the trusted side is slow to read. */
	async emit(event) {
		if (this._connection.closed) return;
		const sequence = this._sequence++;
		const time = Date.now() / 1000;
		await this._connection.notify('event', { execution: this.run.execution, sequence, time, event });
	}

	/** @param {string} text A line that the agent's code printed. @param {string} [level] */
	async log(text, level = 'info') {
		if (++this._logLines > LOG_LINES) return;
		const last = this._logLines === LOG_LINES ? ' [further lines are not told]' : '';
		await this.emit({ kind: 'log', text: text.slice(0, LOG_CHARACTERS) + last, level });
	}

	/** @param {string} text @param {string | null} agent Its name where it is known. */
	async say(text, agent) {
		const told = text.length > LOG_CHARACTERS ? `${text.slice(0, LOG_CHARACTERS)}…` : text;
		await this.emit({ kind: 'message', text: told, ...(agent && { agent }) });
	}

	/** @returns {Promise<string | null>} What `saveState` stored last in this session; null when it is new or none. */
	async loadState() {
		if (this.run.session == null) return null;
		const { text = null, version } = await this._session('state.get', {});
		this._stateVersion = version;
		return text;
	}

	/** @param {string} text Becomes the session's state; nothing happens without a session. */
	async saveState(text) {
		if (this.run.session == null) return;
		await this._session('state.put', { text, version: this._stateVersion++ });
		await this.emit({ kind: 'state_saved', characters: text.length });
	}

	/** @param {string} method @param {object} params Without the execution. @returns {Promise<any>} */
	async callHost(method, params) {
		return await this._connection.call(method, { execution: this.run.execution, ...params });
	}

	/** @param {'state.get' | 'state.put'} method @param {object} params @returns {Promise<any>} */
	async _session(method, params) {
		try {
			return await this.callHost(method, params);
		} catch (error) {
			const what = `the session '${this.run.session}' is not available`;
			throw new AgentError('state_unavailable', what, { cause: String(error) });
		}
	}

	/** @param {'steps' | 'tool_calls'} name @param {string} what */
	_exceed(name, what) {
		this.stop(this._exceeded(name, what));
		this.check();
	}

	/** @param {'steps' | 'tool_calls' | 'tokens'} name @param {string} what */
	_exceeded(name, what) {
		const allowed = /** @type {number} */ (this.limits[name]);
		const message = `the execution may make no more than ${allowed} ${what}; raise limits.${name} if that is right`;
		return new AgentError('limit_exceeded', message, { detail: { limit: name, allowed } });
	}
}

module.exports = { Execution, WaitsForDecision };
