'use strict';
/**
 * The Python side of portable agents: their functions and MCP servers run in a guest of their own beside n8n, which
 * speaks the same contract. It unpacks bundles, judges schemas and calls tools exactly as for the other frameworks.
 */

const net = require('node:net');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { setTimeout: sleep } = require('node:timers/promises');

const { Connection } = require('./connection');
const { AgentError, toldToStop } = require('./errors');

const START_SECONDS = 60;
const CRASHED = 70;
const ADAPTER = 'orchestrator_runtimes.tool_adapter:ToolAdapter';

/** @typedef {import('./execution').Execution} Execution */
/** @typedef {{name: string, description: string, parameters: Record<string, any>}} Tool */

/** A running tool guest. */
class ToolGuest {
	/** @param {{python: string, folder: string, executions: number}} options */
	constructor({ python, folder, executions }) {
		this.folder = folder;
		this._address = path.join(folder, 'tools.socket');
		const words = ['-P', '-m', 'orchestrator_runtimes', '--adapter', ADAPTER, '--listen', `unix:${this._address}`];
		words.push('--folder', folder, '--max-executions', String(executions));
		this._process = spawn(python, words, { stdio: ['ignore', 'ignore', 'inherit'], cwd: folder });
		this._leaving = false;
		for (const event of ['exit', 'error']) this._process.once(event, (why) => this._ended(why));
		/** @type {Map<string, {execution: Execution, occurrence: number | null}>} Its occurrence, once it is known. */
		this._calls = new Map();
		this._number = 0;
		this._connecting = this._connect();
		this._connecting.catch(() => {}); // told to whoever needs it
	}

	/** Expect its end from now on: it is told to stop together with n8n. */
	leave() {
		this._leaving = true;
	}

	/** @param {unknown} why A crash of the whole guest, as where a tool runs in it: what ran is tried again in the next. */
	_ended(why) {
		if (this._leaving) return;
		console.error(`the process of the tools ended: ${why}`);
		process.exit(CRASHED);
	}

	/** @returns {Promise<Connection>} */
	async _connect() {
		const connection = new Connection(await this._open(), {
			handlers: {
				'step.lookup': (params) => this._lookUp(params),
				'step.record': (params) => this._record(params),
				'approval.ask': (params) => this._ask(params),
			},
			notified: (method, params) => this._take(method, params),
			requests: 10_000,
		});
		connection.serve();
		await connection.call('initialize', {});
		return connection;
	}

	/** @returns {Promise<net.Socket>} */
	async _open() {
		for (const end = Date.now() + START_SECONDS * 1000; ; await sleep(20)) {
			const socket = net.connect(this._address);
			try {
				await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
				return socket;
			} catch (error) {
				if (Date.now() > end) throw error;
			}
		}
	}

	/**
	 * Load an agent's bundle and tools.
	 *
	 * @param {object} request Of `load`; its source is portable. @returns {Promise<string | undefined>} Its digest there;
	 *   undefined when the bundle's bytes are needed first.
	 */
	async load(request) {
		return (await (await this._connecting).call('load', request)).agent;
	}

	/** @param {string} digest Of a bundle that was loaded. @returns {string} Its folder. */
	bundleFolder(digest) {
		return path.join(this.folder, 'bundles', digest);
	}

	/** @param {string} agent From `load`. @returns {Promise<Tool[]>} */
	async list(agent) {
		const connection = await this._connecting;
		const result = await connection.call('run', { execution: `tools-${this._number++}`, agent });
		return result.output;
	}

	/**
	 * Call a tool for an execution, whose limits hold.
	 *
	 * @param {Execution} execution @param {string} agent From `load`. @param {string} name
	 * @param {Record<string, unknown>} values Its arguments.
	 * @returns {Promise<string>} The text for the model.
	 */
	async call(execution, agent, name, values) {
		execution.beginToolCall(name);
		const connection = await this._connecting;
		const id = `${execution.run.execution}#${this._number++}`;
		const { seconds } = execution.limits;
		const run = {
			execution: id,
			agent,
			inputs: { tool: name, arguments: values },
			journal: execution.run.journal === true,
			model: execution.run.model ?? null, // MCP servers are behind the gateway there
			limits: { seconds: Math.max(0.001, seconds - execution.seconds) },
		};
		this._calls.set(id, { execution, occurrence: null });
		const cancel = () => void connection.call('cancel', { execution: id }).catch(() => {});
		execution.stopping.signal.addEventListener('abort', cancel);
		try {
			return await execution.running(async () => {
				const { output, finish_reason: reason } = await connection.call('run', run);
				return reason === 'interrupted' ? await execution.waitForDecision(output) : output;
			});
		} catch (error) {
			if (this._leaving) execution.stop(toldToStop());
			// what a tool raises is a text by now: this is no fault of the tool, and n8n would tell it to the model
			if (error instanceof AgentError) execution.stop(error);
			execution.check();
			throw error;
		} finally {
			execution.stopping.signal.removeEventListener('abort', cancel);
			this._calls.delete(id);
		}
	}

	/** @param {string} method @param {any} params Of a notification. */
	async _take(method, params) {
		const execution = this._calls.get(params?.execution)?.execution;
		if (method !== 'event' || execution === undefined) return;
		const { kind, name, text, level, ...rest } = params.event;
		if (kind === 'log') await execution.log(text, level);
		else if (kind === 'tool_call') await execution.endToolCall(name, rest);
	}

	/** @param {any} params Of `approval.ask`. */
	async _ask({ execution: id, step, tool, arguments: values }) {
		const { execution } = this._callOf(id);
		const occurrence = this._occurrence(id, step);
		return await execution.callHost('approval.ask', { step, occurrence, tool, arguments: values });
	}

	/** @param {any} params Of `step.lookup`. */
	async _lookUp({ execution: id, step, once }) {
		const { execution } = this._callOf(id);
		return await execution.callHost('step.lookup', { step, once, occurrence: this._occurrence(id, step) });
	}

	/** @param {string} id @param {string} step @returns {number} Equal calls are counted over the whole execution. */
	_occurrence(id, step) {
		const call = this._callOf(id);
		call.occurrence ??= call.execution.nextOccurrence(step);
		return call.occurrence;
	}

	/** @param {any} params Of `step.record`. */
	async _record({ execution: id, step, result }) {
		const { execution, occurrence } = this._callOf(id);
		return await execution.callHost('step.record', { step, result, occurrence });
	}

	/** @param {string} id */
	_callOf(id) {
		const call = this._calls.get(id);
		if (call === undefined) throw new AgentError('invalid_input', `no tool call '${id}' is running`);
		return call;
	}
}

module.exports = { ToolGuest };
