'use strict';
/** Loads and runs agents in n8n: workflow files, and portable agents. */

const fs = require('node:fs/promises');
const path = require('node:path');
const { randomBytes } = require('node:crypto');
const { setTimeout: sleep } = require('node:timers/promises');

const { AgentError } = require('./errors');
const { Memories } = require('./memories');
const { NativeSteps } = require('./native_steps');
const { NodeRules } = require('./node_rules');
const { portableWorkflow } = require('./portable');
const { reached, subWorkflows } = require('./sub_workflows');
const { callsUnknown, itemsOf, outputOf, readWorkflow, startOf, waitsForTime } = require('./workflows');
const running = require('./running');

/** Runs of nodes in one execution: n8n keeps what each yields until the end, so a circle would fill its memory. */
const NODE_RUNS = 10_000;

/** @typedef {import('./execution').Execution} Execution */

/** What the worker runs; see `worker.Runtime`. */
class N8nRuntime {
	/**
	 * @param {ReturnType<typeof import('./n8n_internals').load>} n8n
	 * @param {import('./model_proxy').ModelProxy} proxy @param {import('./tool_guest').ToolGuest} tools
	 */
	constructor(n8n, proxy, tools) {
		this._n8n = n8n;
		this._proxy = proxy;
		this._tools = tools;
	}

	/** @param {Record<string, any>} request @returns {Promise<{agent: any, nativeType: string} | null>} */
	async load(request) {
		const { source, bundle = null } = request;
		if (source.portable) {
			const { output_schema: schema, ...plain } = source.portable;
			const judged = await this._tools.load(request); // the schema, too, which only its own output would fit
			if (judged === undefined) return null;
			const digest = (schema && (await this._tools.load({ ...request, source: { portable: plain } }))) || judged;
			const tools = plain.tools?.length ? await this._tools.list(digest) : [];
			return { agent: { portable: source.portable, digest, tools }, nativeType: 'AI Agent' };
		}
		const carrier = { portable: { name: 'bundle', instructions: '', model: '' } };
		if ((await this._tools.load({ ...request, source: carrier })) === undefined) return null;
		return { agent: await this._native(source, bundle), nativeType: 'Workflow' };
	}

	/** @param {Record<string, any>} source @param {string | null} bundle */
	async _native({ entrypoint, options = {} }, bundle) {
		const missing = new AgentError('agent_not_found', `entrypoint '${entrypoint}': the bundle has no such workflow file`);
		const folder = this._tools.bundleFolder(bundle ?? '');
		const file = path.resolve(folder, entrypoint);
		if (bundle === null || !file.startsWith(folder + path.sep)) throw missing;
		const text = await fs.readFile(file, 'utf8').catch(() => {
			throw missing;
		});
		const known = (/** @type {string} */ type, /** @type {number} */ version) => this._n8n.known(type, version);
		const subWorkflow = await subWorkflows(folder, known);
		const workflow = readWorkflow(text, entrypoint, known);
		const workflows = reached(workflow, subWorkflow);
		const isTrigger = (/** @type {import('./workflows').Node} */ node) => this._n8n.isTrigger(node);
		const start = startOf(workflow, entrypoint, isTrigger, options.trigger);
		const rules = new NodeRules(options);
		rules.check(workflows, !workflows.some(callsUnknown), isTrigger);
		return { workflow, start, subWorkflow, rules, tools: [] };
	}

	/** @param {any} agent From `load`. @param {Execution} execution @param {{decision: unknown}} [resumed] */
	async run(agent, execution, resumed) {
		const state = stateOf(await execution.loadState());
		if (resumed && state.waiting === null) {
			throw new AgentError('invalid_input', 'the session waits for no decision');
		}
		const memories = new Memories(state.messages);
		const from = resumed ? { ...state.waiting, ...resumed } : null;
		const steps = agent.rules && execution.run.journal ? new NativeSteps(execution, from?.steps) : null;
		const { ended, workflow } = await this._opened(agent, execution, { memories, steps }, (options) =>
			this._ended(agent, execution, from, options),
		);
		execution.check();
		if (ended.error !== null) throw failure(ended, execution);
		const messages = await memories.stored();
		if (ended.waiting !== null) {
			const { node, till, state: kept } = ended.waiting;
			await execution.saveState(JSON.stringify({ messages, waiting: { workflow, kept, steps: steps?.counts } }));
			const request = { node, until: till?.toISOString() ?? null, items: ended.items };
			return { output: request, finishReason: 'interrupted', native: {} };
		}
		const { portable } = agent;
		const output = portable ? answerOf(ended.items[0], portable.output_schema) : outputOf(ended.items);
		const text = typeof output === 'string' ? output : JSON.stringify(output);
		await execution.say(text ?? '', portable ? portable.name : ended.lastNode);
		await execution.saveState(JSON.stringify({ messages, waiting: null }));
		return { output, finishReason: 'completed', native: {} };
	}

	/**
	 * Do `work` while the execution has an address for model calls, and its nodes find its memories and tools.
	 *
	 * @template T @param {any} agent @param {Execution} execution
	 * @param {{memories: Memories, steps: NativeSteps | null}} its
	 * @param {(options: import('./n8n_internals').Options) => Promise<T>} work @returns {Promise<T>}
	 */
	async _opened(agent, execution, { memories, steps }, work) {
		const schema = agent.portable?.output_schema;
		const format = { type: 'json_schema', json_schema: { name: 'output', schema, strict: true } };
		const model = this._proxy.open(execution, schema ? { response_format: format } : {});
		const id = randomBytes(12).toString('hex');
		running.add(id, { memories, tools: agent.tools, call: this._caller(agent, execution) });
		let runs = 0;
		try {
			return await work({
				id,
				credentials: { apiKey: 'not-a-key', url: model.url, header: false, allowedHttpRequestDomains: 'all' },
				onNode: async (name, run) => {
					if (++runs > NODE_RUNS) execution.stop(tooManyRuns(name));
					await this._told(execution, name, run, steps?.tookFor(name) ?? false);
				},
				subWorkflow: agent.subWorkflow,
				signal: execution.stopping.signal,
				journal: steps && { steps, rules: agent.rules },
			});
		} finally {
			running.remove(id);
			model.close();
		}
	}

	/**
	 * Run a workflow to its end, or until it waits for a decision or for longer than the execution may take.
	 *
	 * @param {any} agent @param {Execution} execution
	 * @param {{workflow: any, kept: string, steps?: Record<string, number>, decision: unknown} | null} resumed
	 * @param {import('./n8n_internals').Options} options
	 * @returns {Promise<{ended: import('./n8n_internals').Ended, workflow: any}>}
	 */
	async _ended(agent, execution, resumed, options) {
		const inputs = execution.run.inputs ?? null;
		const workflow = resumed?.workflow ?? this._workflow(agent, inputs);
		let ended;
		if (resumed) {
			const items = resumed.decision == null ? null : itemsOf(resumed.decision);
			ended = await this._n8n.resume(workflow, resumed.kept, items, options);
		} else {
			ended = await this._n8n.run(workflow, agent.start ?? workflow.nodes[0], itemsOf(inputs), options);
		}
		while (ended.waiting?.till && waitsForTime(workflow, ended.waiting.node)) {
			const milliseconds = ended.waiting.till.getTime() - Date.now();
			if (milliseconds / 1000 > execution.limits.seconds - execution.seconds) break;
			await sleep(Math.max(milliseconds, 0), undefined, { signal: execution.stopping.signal });
			ended = await this._n8n.resume(workflow, ended.waiting.state, null, options);
		}
		return { ended, workflow };
	}

	/** @param {any} agent @param {unknown} inputs */
	_workflow({ portable, workflow, tools }, inputs) {
		if (!portable) return workflow;
		const question = typeof inputs === 'string' ? inputs : JSON.stringify(inputs);
		return portableWorkflow(portable, question, tools.length > 0);
	}

	/** @param {any} agent @param {Execution} execution */
	_caller(agent, execution) {
		return (/** @type {string} */ name, /** @type {Record<string, unknown>} */ values) =>
			this._tools.call(execution, agent.digest, name, values);
	}

	/** @param {Execution} execution @param {string} name Of a node that ended. @param {any} run @param {boolean} replayed */
	async _told(execution, name, run, replayed) {
		const seconds = replayed ? 0 : (run?.executionTime ?? 0) / 1000;
		if (run?.data?.ai_tool) {
			execution.beginToolCall(name);
			await execution.endToolCall(name, { seconds, error: run.error?.message, replayed });
		} else {
			await execution.emit({ kind: 'metric', name: `node ${name}`, value: seconds });
		}
	}
}

/** @param {string | null} text @returns {{messages: Record<string, object[]>, waiting: any}} A session's state. */
function stateOf(text) {
	return text === null ? { messages: {}, waiting: null } : JSON.parse(text);
}

/** @param {string} node @returns {AgentError} */
function tooManyRuns(node) {
	const what = `the workflow may run no more than ${NODE_RUNS} nodes, the last was '${node}': it may run in a circle`;
	return new AgentError('limit_exceeded', what, { detail: { limit: 'nodes', allowed: NODE_RUNS } });
}

/** @param {any} item @param {unknown} schema @returns {unknown} A portable agent's output. */
function answerOf(item, schema) {
	const text = item?.output;
	if (!schema || typeof text !== 'string') return text ?? null;
	try {
		return JSON.parse(text);
	} catch (error) {
		throw new AgentError('output_schema_mismatch', 'the answer is not JSON', { cause: `${error}: ${text.slice(0, 200)}` });
	}
}

/** @param {import('./n8n_internals').Ended} ended @param {Execution} execution @returns {AgentError} */
function failure({ error, lastNode }, execution) {
	const node = error.node?.name ?? lastNode;
	const what = [error.message, error.description].filter(Boolean).join(': ');
	for (const [tool, said] of execution.failedTools) {
		if (said.includes(error.message)) {
			return new AgentError('tool_failed', `the tool '${tool}' raised`, { cause: what, detail: { tool } });
		}
	}
	const told = `the node '${node}' failed`;
	return new AgentError('framework_error', told, { cause: what, detail: node ? { node } : {} });
}

module.exports = { N8nRuntime };
