'use strict';
/** The guest's side of the contract: n8n's process serves many executions at once. */

const { createHash } = require('node:crypto');

const { BUSY, Connection, INVALID_PARAMS, INVALID_REQUEST, MESSAGE_BYTES } = require('./connection');
const { AgentError, Refused, toldToStop, words } = require('./errors');
const { Execution, WaitsForDecision } = require('./execution');
const { mismatch } = require('./schemas');

const CONTRACT_VERSION = '1.1';
const SPARE_REQUESTS = 32;
const STOP_SECONDS = 5;

/**
 * What runs agents; both may throw `AgentError`.
 *
 * @typedef {object} Runtime
 * @property {(request: Record<string, any>) => Promise<{agent: any, nativeType: string} | null>} load Null when the
 *   bundle's bytes are needed first.
 * @property {(agent: any, execution: Execution, resumed?: {decision: unknown}) => Promise<{output: unknown, finishReason: string,
 *   native: Record<string, unknown>}>} run
 */

/** Serves the contract on every socket it is given. */
class Worker {
	/**
	 * @param {Runtime} runtime
	 * @param {Record<string, any>} description What `initialize` answers, less the contract's version.
	 * @param {Record<string, any>} schema The contract's.
	 * @param {() => void} ended Called when it has stopped.
	 */
	constructor(runtime, description, schema, ended) {
		this._runtime = runtime;
		this._description = description;
		this._schema = schema;
		this._ended = ended;
		/** @type {Map<string, Promise<{agent: any, nativeType: string, source: Record<string, any>} | null>>} */
		this._agents = new Map();
		/** @type {Map<string, Execution>} */
		this._executions = new Map();
		/** @type {Set<Connection>} */
		this._connections = new Set();
		this._stopping = false;
	}

	/** @param {import('node:net').Socket} socket */
	async accept(socket) {
		let initialized = false;
		/** @type {Record<string, (params: any) => Promise<unknown>>} */
		const handlers = {
			initialize: async (request) => {
				if (initialized) throw new Refused(INVALID_REQUEST, 'this connection is initialized already');
				checkContract(request.contract ?? CONTRACT_VERSION);
				connection.peerMessageBytes = request.message_bytes ?? MESSAGE_BYTES;
				initialized = true;
				return { contract: CONTRACT_VERSION, message_bytes: MESSAGE_BYTES, ...this._description };
			},
			load: (request) => this._load(request),
			run: (run) => this._run(run, connection),
			resume: ({ run, decision = null }) => this._run(run, connection, { decision }),
			cancel: async ({ execution }) => ({ known: this._cancel(execution) }),
			shutdown: async ({ grace_seconds = STOP_SECONDS }) => {
				setImmediate(() => this.stop(grace_seconds));
				return {};
			},
		};
		for (const [method, handle] of Object.entries(handlers)) {
			handlers[method] = async (params) => {
				const early = !initialized && method !== 'initialize';
				if (early) throw new Refused(INVALID_REQUEST, `'${method}' before 'initialize'`);
				return await handle(this._checked(method, params));
			};
		}
		const requests = this._description.max_executions + SPARE_REQUESTS;
		const connection = new Connection(socket, { handlers, requests });
		this._connections.add(connection);
		await connection.serve();
		this._connections.delete(connection);
	}

	/** Let executions finish within a grace period, hand the rest back, and close. @param {number} [graceSeconds] */
	async stop(graceSeconds = STOP_SECONDS) {
		this._stopping = true;
		await emptied(this._executions, graceSeconds);
		for (const execution of this._executions.values()) execution.stop(toldToStop());
		await emptied(this._executions, STOP_SECONDS);
		for (const connection of this._connections) connection.close();
		await emptied(this._connections, STOP_SECONDS);
		this._ended();
	}

	/** @param {string} method @param {any} params @returns {any} `params`, when they fit the contract. */
	_checked(method, params) {
		const schema = this._schema.requests[method].params;
		const reason = mismatch(schema, params, { where: method, root: this._schema });
		if (reason !== null) throw new Refused(INVALID_PARAMS, reason);
		return params;
	}

	/** @param {Record<string, any>} request */
	async _load(request) {
		const { source, bundle = null } = request;
		if ((source.entrypoint == null) === (source.portable == null)) {
			throw new Refused(INVALID_PARAMS, 'an agent needs either an entrypoint or a portable description');
		}
		const digest = createHash('sha256').update(JSON.stringify([bundle, source])).digest('hex');
		if (!this._agents.has(digest)) {
			const loading = this._runtime.load(request).then((loaded) => loaded && { ...loaded, source });
			this._agents.set(digest, loading);
			const forget = () => this._agents.delete(digest);
			loading.then((loaded) => loaded ?? forget(), forget);
		}
		const loaded = await this._agents.get(digest);
		return loaded ? { agent: digest, native_type: loaded.nativeType } : { native_type: '' };
	}

	/** @param {Record<string, any>} run @param {Connection} connection @param {{decision: unknown}} [resumed] */
	async _run(run, connection, resumed) {
		const loaded = await this._agents.get(run.agent);
		const running = this._executions.size;
		if (this._stopping || running >= this._description.max_executions) {
			throw new Refused(BUSY, `this runtime runs ${running} executions and takes no more`);
		}
		if (this._executions.has(run.execution)) {
			throw new Refused(INVALID_REQUEST, `the execution '${run.execution.slice(0, 100)}' is running already`);
		}
		if (!loaded) {
			const what = `no agent '${run.agent.slice(0, 80)}' is loaded in this runtime`;
			throw new AgentError('agent_not_found', what);
		}
		const execution = new Execution(run, connection);
		const gone = () => execution.stop(new AgentError('cancelled', 'the trusted side is gone'));
		connection.ended.signal.addEventListener('abort', gone);
		this._executions.set(run.execution, execution);
		try {
			await execution.emit({ kind: 'started' });
			return await this._result(loaded, execution, resumed);
		} catch (error) {
			if (execution.stopped instanceof WaitsForDecision) return await waiting(execution);
			const told = this._error(error, execution);
			await execution.emit({ kind: 'failed', code: told.code, message: told.message, usage: execution.usage });
			throw Object.assign(told, { usage: execution.usage });
		} finally {
			execution.end();
			connection.ended.signal.removeEventListener('abort', gone);
			this._executions.delete(run.execution);
		}
	}

	/** @param {any} loaded @param {Execution} execution @param {{decision: unknown}} [resumed] */
	async _result(loaded, execution, resumed) {
		const { agent, source } = loaded;
		const outcome = await this._runtime.run(agent, execution, resumed);
		execution.check();
		if (execution.modelFault !== null) throw execution.modelFault;
		const { finishReason, native } = outcome;
		const schemas = [source.portable?.output_schema, execution.run.output_schema];
		const output = checkedOutput(outcome.output, execution, finishReason === 'completed' ? schemas : []);
		if (finishReason === 'interrupted') {
			if (execution.run.session == null) throw nothingToWaitIn();
			await execution.emit({ kind: 'approval_requested', request: output });
		}
		const { usage, seconds } = execution;
		await execution.emit({ kind: 'finished', finish_reason: finishReason, usage });
		return { output, finish_reason: finishReason, usage, seconds, native };
	}

	/** @param {unknown} error @param {Execution} execution @returns {AgentError} What really happened. */
	_error(error, execution) {
		if (execution.stopped !== null) return execution.stopped;
		const fault = execution.modelFault;
		if (fault !== null && fault !== error) {
			return new AgentError(fault.code, fault.message, { cause: fault.cause ?? words(error), detail: fault.detail });
		}
		if (error instanceof AgentError) return error;
		return new AgentError('framework_error', 'n8n failed', { cause: words(error) });
	}

	/** @param {string} name */
	_cancel(name) {
		const execution = this._executions.get(name);
		execution?.stop(new AgentError('cancelled', 'the execution was cancelled'));
		return execution !== undefined;
	}
}

/** @param {Execution} execution Whose tools wait. @returns {Promise<Record<string, unknown>>} Its result for now. */
async function waiting(execution) {
	const { requests, usage, seconds } = execution;
	for (const request of requests) await execution.emit({ kind: 'approval_requested', request });
	await execution.emit({ kind: 'finished', finish_reason: 'interrupted', usage });
	return { output: requests, finish_reason: 'interrupted', usage, seconds, native: {} };
}

/** @param {{size: number}} waited @param {number} seconds Most that it takes. */
async function emptied(waited, seconds) {
	for (const end = Date.now() + seconds * 1000; waited.size && Date.now() < end; ) {
		await new Promise((resolve) => setTimeout(resolve, 10));
	}
}

/** @returns {AgentError} */
function nothingToWaitIn() {
	const what = 'the agent waits for a decision, and the execution has no session that could keep what it did';
	return new AgentError('invalid_input', `${what}: run it in a session`);
}

/** @param {string} version */
function checkContract(version) {
	if (version.split('.')[0] === CONTRACT_VERSION.split('.')[0]) return;
	const other = version.slice(0, 20);
	const what = `this runtime speaks contract ${CONTRACT_VERSION}, the other side '${other}'`;
	throw new Refused(INVALID_REQUEST, `${what}: install versions of the same major number`);
}

/** @param {unknown} output @param {Execution} execution @param {(Record<string, any> | null | undefined)[]} schemas */
function checkedOutput(output, execution, schemas) {
	const text = JSON.stringify(output);
	if (text === undefined) {
		const what = "the agent's output is not JSON; return text, numbers, lists and objects only";
		throw new AgentError('output_schema_mismatch', what);
	}
	const size = Buffer.byteLength(text);
	const allowed = execution.limits.output_bytes;
	if (size > allowed) {
		const what = `the output has ${size} bytes, above limits.output_bytes of ${allowed}`;
		const detail = { limit: 'output_bytes', allowed };
		throw new AgentError('limit_exceeded', `${what}; store the data and return a reference`, { detail });
	}
	const value = JSON.parse(text);
	for (const schema of schemas) {
		const reason = schema ? mismatch(schema, value) : null;
		if (reason !== null) {
			const what = "the agent's output does not match its schema";
			throw new AgentError('output_schema_mismatch', what, { cause: reason });
		}
	}
	return value;
}

module.exports = { Worker };
