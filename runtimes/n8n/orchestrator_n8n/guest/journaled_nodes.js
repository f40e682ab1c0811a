'use strict';
/**
 * Puts the journal around n8n's nodes, where each of n8n's ways to run one passes: `execute` of its type, for nodes of
 * the main flow and for tools that the engine or an agent runs, and `invoke` of the tools that it supplies.
 *
 * Like `n8n_internals` it reaches inside n8n: the fields of contexts, and how tools are supplied.
 */

const { createHash } = require('node:crypto');

const { langchain } = require('./langchain');
const { NOT_KEPT } = require('./native_steps');
const { list } = require('./schemas');

/** @typedef {import('./native_steps').NativeSteps} NativeSteps */
/** @typedef {import('./node_rules').NodeRules} NodeRules */
/** @typedef {{steps: NativeSteps, rules: NodeRules}} Journal */
/**
 * @typedef {object} Binaries Where n8n keeps the bytes of items.
 * @property {(binary: any) => Promise<Buffer>} read @property {(bytes: Buffer, binary: any) => Promise<any>} store
 */

/** More bytes than this are not read to be kept: as text they would be longer than what the journal takes. */
const KEPT_BYTES = 750_000;

/** The expression that names a node only when it is evaluated. */
const ANY_NODE = /\$\(\s*[^'"`\\\s]/;

/** The nodes of one run of a workflow, in the journal. */
class JournaledNodes {
	/**
	 * @param {Journal} journal @param {Binaries} binaries
	 * @param {(type: any) => boolean} isClass Whether n8n hands the context to a type's `execute`; else it is its `this`.
	 */
	constructor(journal, binaries, isClass) {
		this._journal = journal;
		this._binaries = binaries;
		this._isClass = isClass;
		/** @type {Map<string, object>} */
		this._attempts = new Map();
		/** @type {Map<string, {runs: number, digest: string}>} Of what nodes have yielded so far. */
		this._yielded = new Map();
	}

	/** @param {any} nodeTypes n8n's. @returns {any} The same, whose nodes are in the journal. */
	types(nodeTypes) {
		/** @type {Map<any, any>} */
		const made = new Map();
		const getByNameAndVersion = (/** @type {string} */ name, /** @type {number} */ version) => {
			const type = nodeTypes.getByNameAndVersion(name, version);
			if (!made.has(type)) made.set(type, this._journaled(type));
			return made.get(type);
		};
		return Object.create(nodeTypes, { getByNameAndVersion: { value: getByNameAndVersion } });
	}

	/** @param {any} type */
	_journaled(type) {
		if (list(type.description?.group).includes('trigger')) return type; // it passes on what the execution is given
		const nodes = this;
		const made = Object.create(type);
		if (type.execute) {
			made.execute = async function (/** @type {any[]} */ ...words) {
				const context = nodes._isClass(type) ? words[0] : this;
				return await nodes._execute(context, async () =>
					nodes._isClass(type) ? await type.execute(...words) : await type.execute.apply(this, words),
				);
			};
		}
		if (type.supplyData) {
			made.supplyData = async function (/** @type {number} */ item) {
				const supplied = await type.supplyData.call(this, item);
				const { connectionType } = /** @type {any} */ (this);
				if (connectionType === 'ai_tool') nodes._tools(this, supplied.response);
				return supplied;
			};
		}
		return made;
	}

	/** @param {any} context @param {() => Promise<any>} run @returns {Promise<any>} What the node yields. */
	async _execute(context, run) {
		const { node, workflow, runIndex } = context;
		const { rules, steps } = this._journal;
		if (!rules.journals(node, workflow)) return await run();
		const inTurn = context.connectionType === undefined; // else an agent calls it, perhaps several times at once
		const work = {
			name: node.name,
			told: await this._told(context, inTurn ? context.inputData : [context.inputData, context.connectionInputData]),
			once: rules.once.has(node.name),
			...(inTurn && { attempt: this._attempt(`${node.name}:${runIndex}`) }),
			run,
			keep: (/** @type {any} */ output) => this._kept(context, output),
			give: (/** @type {any} */ kept) => this._stored(kept),
		};
		try {
			return await steps.through(work);
		} catch (error) {
			// n8n would go on along the node's path for errors, or try it again; yielding nothing, it sees that it is to stop
			if (inTurn && context.abortSignal?.aborted) return null;
			throw error;
		}
	}

	/** @param {string} run Of a node. @returns {object} */
	_attempt(run) {
		const attempt = this._attempts.get(run) ?? {};
		this._attempts.set(run, attempt);
		return attempt;
	}

	/** @param {any} context Of an agent's tool. @param {any} supplied One or several tools. */
	_tools(context, supplied) {
		const { rules } = this._journal;
		if (!rules.journals(context.node, context.workflow)) return;
		const tools = supplied?.tools ?? (Array.isArray(supplied) ? supplied : [supplied]);
		for (const tool of tools) if (typeof tool?.invoke === 'function') this._tool(context, tool);
	}

	/** @param {any} context @param {any} tool Of LangChain, whose calls shall be in the journal. */
	_tool(context, tool) {
		const { node } = context;
		const { rules, steps } = this._journal;
		const invoke = tool.invoke;
		tool.invoke = async (/** @type {any} */ input, /** @type {unknown[]} */ ...more) => {
			const given = input?.type === 'tool_call' ? input.args : input;
			return await steps.through({
				name: node.name,
				told: [tool.name, given, await this._told(context, context.connectionInputData)],
				once: rules.once.has(node.name),
				run: () => invoke.call(tool, input, ...more),
				keep: async (result) => keptOf(result),
				give: async ({ value, message }) => {
					const { index } = context.addInputData('ai_tool', [[{ json: { query: given } }]]);
					context.addOutputData('ai_tool', index, [[{ json: { response: message ?? value } }]]);
					return message === undefined ? value : messageOf(message, tool.name, input);
				},
			});
		};
		const asDynamicTool = tool.asDynamicTool?.bind(tool);
		if (asDynamicTool) {
			tool.asDynamicTool = () => {
				const made = asDynamicTool();
				this._tool(context, made);
				return made;
			};
		}
	}

	/** @param {any} context @param {any} inputs @returns {Promise<unknown>} All that the node's result depends on. */
	async _told({ node, runExecutionData }, inputs) {
		const { type, typeVersion, parameters } = node;
		const { runData } = runExecutionData.resultData;
		const read = Object.keys(runData).filter(reads(JSON.stringify(parameters)));
		const yielded = read.map((name) => [name, this._digest(name, runData[name])]);
		const tool = node.rewireOutputLogTo === 'ai_tool';
		return { type, typeVersion, parameters, inputs: await this._plain(inputs, tool), yielded };
	}

	/** @param {string} name @param {any[]} runs @returns {string} Of what a node has yielded in its runs that have ended. */
	_digest(name, runs) {
		const known = this._yielded.get(name) ?? { runs: 0, digest: '' };
		while (runs[known.runs]?.data) {
			const outputs = Object.values(runs[known.runs++].data);
			const items = outputs.map((output) => list(output).map((items) => list(items).map((item) => item?.json)));
			known.digest = createHash('sha256').update(known.digest).update(JSON.stringify(items)).digest('hex');
		}
		this._yielded.set(name, known);
		return known.digest;
	}

	/**
	 * @param {any} inputs @param {boolean} tool Whether the engine runs it for an agent.
	 * @returns {Promise<any>} The JSON of items, and what their bytes are, which n8n names by chance.
	 */
	async _plain(inputs, tool) {
		if (Array.isArray(inputs)) return await Promise.all(inputs.map((input) => this._plain(input, tool)));
		if (typeof inputs !== 'object' || inputs === null) return inputs;
		if (typeof inputs.json !== 'object') {
			const members = Object.entries(inputs).map(async ([name, member]) => [name, await this._plain(member, tool)]);
			return Object.fromEntries(await Promise.all(members));
		}
		const { toolCallId, ...json } = inputs.json; // it names the model's call, not what is asked
		const digests = Object.entries(inputs.binary ?? {}).map(async ([name, binary]) => {
			const bytes = await this._binaries.read(binary);
			return [name, createHash('sha256').update(bytes).digest('hex')];
		});
		return [tool ? json : { ...json, toolCallId }, ...(await Promise.all(digests))];
	}

	/** @param {any} context @param {any} output @returns {Promise<unknown>} Undefined where the node has not ended. */
	async _kept(context, output) {
		const waits = context.runExecutionData.waitTill != null;
		if (waits || (output !== null && !Array.isArray(output))) return undefined; // it asks the engine to run others first
		if (context.node.retryOnFail && output?.[0]?.[0]?.json?.error) return undefined; // n8n runs it again
		const size = items(output).reduce((sum, { binary }) => sum + bytesOf(binary), 0);
		if (size > KEPT_BYTES) return NOT_KEPT;
		return await this._mapped(output, async (/** @type {any} */ binary) => {
			const { id: _, ...rest } = binary;
			return { ...rest, data: (await this._binaries.read(binary)).toString('base64') };
		});
	}

	/** @param {any} kept @returns {Promise<any>} The output again, with its bytes where n8n keeps them. */
	async _stored(kept) {
		return await this._mapped(kept, async (/** @type {any} */ { data, ...rest }) =>
			this._binaries.store(Buffer.from(data, 'base64'), rest),
		);
	}

	/** @param {any} output @param {(binary: any) => Promise<any>} change @returns {Promise<any>} With other binary data. */
	async _mapped(output, change) {
		if (!items(output).some(({ binary }) => binary)) return output;
		const each = async (/** @type {any} */ item) => {
			if (!item?.binary) return item;
			const changed = Object.entries(item.binary).map(async ([name, binary]) => [name, await change(binary)]);
			return { ...item, binary: Object.fromEntries(await Promise.all(changed)) };
		};
		return await Promise.all(output.map(async (/** @type {any} */ one) => one && (await Promise.all(one.map(each)))));
	}
}

/** @param {string} words Parameters as JSON. @returns {(name: string) => boolean} Whether they read what a node yielded. */
function reads(words) {
	if (ANY_NODE.test(words)) return () => true;
	return (name) => {
		const written = JSON.stringify(name).slice(1, -1);
		return [`'${written}'`, `\\"${written}\\"`, `\`${written}\``, `$node.${written}`].some((one) => words.includes(one));
	};
}

/** @param {any} output Of a node. @returns {any[]} */
function items(output) {
	return list(output).flatMap((one) => list(one).filter((item) => item !== null && typeof item === 'object'));
}

/** @param {Record<string, any> | undefined} binary Of an item. @returns {number} */
function bytesOf(binary) {
	return Object.values(binary ?? {}).reduce((sum, { bytes, data }) => sum + (bytes ?? (data?.length ?? 0) * 0.75), 0);
}

/** @param {any} result Of a tool. @returns {unknown} What makes it again. */
function keptOf(result) {
	if (result?.tool_call_id === undefined) return { value: result };
	return result.status === 'error' || result.artifact !== undefined ? NOT_KEPT : { message: result.content };
}

/** @param {unknown} content @param {string} name Of a tool. @param {any} input Of its call. @returns {any} LangChain's. */
function messageOf(content, name, input) {
	const { ToolMessage } = langchain('@langchain/core/messages');
	return new ToolMessage({ content, name, tool_call_id: input?.id ?? '' });
}

module.exports = { JournaledNodes };
