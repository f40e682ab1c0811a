'use strict';
/** Loads and runs agents in n8n: workflow files, and portable agents. */

const fs = require('node:fs/promises');
const path = require('node:path');
const { randomBytes } = require('node:crypto');

const { AgentError } = require('./errors');
const { portableWorkflow } = require('./portable');
const { itemsOf, outputOf, readWorkflow, startOf } = require('./workflows');
const running = require('./running');

const HISTORY_MESSAGES = 200;

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
		const workflow = readWorkflow(text, entrypoint, (type, version) => this._n8n.known(type, version));
		const start = startOf(workflow, entrypoint, (node) => this._n8n.isTrigger(node), options.trigger);
		return { workflow, start };
	}

	/** @param {any} agent From `load`. @param {Execution} execution */
	async run(agent, execution) {
		const { portable } = agent;
		const history = JSON.parse((await execution.loadState()) ?? '[]');
		const inputs = execution.run.inputs ?? null;
		const question = typeof inputs === 'string' ? inputs : JSON.stringify(inputs);
		const workflow = portable ? portableWorkflow(portable, question, agent.tools.length > 0) : agent.workflow;
		const start = portable ? workflow.nodes[0] : agent.start;
		const schema = portable?.output_schema;
		const format = { type: 'json_schema', json_schema: { name: 'output', schema, strict: true } };
		const model = this._proxy.open(execution, schema ? { response_format: format } : {});
		const id = randomBytes(12).toString('hex');
		running.add(id, { history, tools: agent.tools ?? [], call: this._caller(agent, execution) });
		let ended;
		try {
			ended = await this._n8n.run(workflow, start, itemsOf(inputs), {
				id,
				credentials: { apiKey: 'not-a-key', url: model.url, header: false, allowedHttpRequestDomains: 'all' },
				onNode: (name, run) => this._told(execution, name, run),
				signal: execution.stopping.signal,
			});
		} finally {
			running.remove(id);
			model.close();
		}
		execution.check();
		if (ended.waiting) {
			throw new AgentError('framework_error', 'the workflow waits for something outside, which this runtime cannot keep');
		}
		if (ended.error !== null) throw failure(ended, execution);
		const output = portable ? answerOf(ended.items[0], schema) : outputOf(ended.items);
		const text = typeof output === 'string' ? output : JSON.stringify(output);
		await execution.say(text ?? '', portable ? portable.name : ended.lastNode);
		if (portable) history.push({ role: 'user', text: question }, { role: 'assistant', text });
		await execution.saveState(JSON.stringify(history.slice(-HISTORY_MESSAGES)));
		return { output, finishReason: 'completed', native: {} };
	}

	/** @param {any} agent @param {Execution} execution */
	_caller(agent, execution) {
		return (/** @type {string} */ name, /** @type {Record<string, unknown>} */ values) =>
			this._tools.call(execution, agent.digest, name, values);
	}

	/** @param {Execution} execution @param {string} name Of a node that ended. @param {any} run */
	async _told(execution, name, run) {
		const seconds = (run?.executionTime ?? 0) / 1000;
		if (run?.data?.ai_tool) {
			execution.beginToolCall(name);
			await execution.endToolCall(name, { seconds, error: run.error?.message });
		} else {
			await execution.emit({ kind: 'metric', name: `node ${name}`, value: seconds });
		}
	}
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
