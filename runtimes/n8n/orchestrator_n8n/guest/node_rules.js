'use strict';
/** Which nodes of native workflows are in the journal, which of them may run only once, and which run again in a retry. */

const { AgentError } = require('./errors');
const { isObject } = require('./schemas');

/** @typedef {import('./workflows').Node} Node */
/** @typedef {import('./workflows').Workflow} Workflow */

const BASE = 'n8n-nodes-base.';
const LANGCHAIN = '@n8n/n8n-nodes-langchain.';

/** Kinds that keep their place in the execution itself: one whose result is taken would not do what it is there for. */
const INSIDE = new Set(
	['executionData', 'form', 'respondToWebhook', 'splitInBatches', 'stopAndError', 'wait'].map((kind) => BASE + kind),
);

/**
 * Kinds without an effect outside, whose output follows from their input; a workflow's call is journaled by the nodes
 * of that workflow. What is not known is taken to have an effect.
 */
const PURE = new Set([
	...INSIDE,
	...[
		'aggregate',
		'compareDatasets',
		'compression',
		'convertToFile',
		'editImage',
		'executeWorkflow',
		'extractFromFile',
		'filter',
		'html',
		'htmlExtract',
		'if',
		'itemLists',
		'limit',
		'markdown',
		'merge',
		'moveBinaryData',
		'noOp',
		'readPDF',
		'removeDuplicates',
		'renameKeys',
		'set',
		'sort',
		'splitOut',
		'spreadsheetFile',
		'summarize',
		'switch',
		'xml',
	].map((kind) => BASE + kind),
	...['toolCalculator', 'toolThink', 'toolWorkflow'].map((kind) => LANGCHAIN + kind),
]);

/** Words of parameters whose value is another one in each try. */
const MADE_UP = /\$(?:now|today|execution|workflow)\b|\bDate(?:Time)?\b|random/i;

/** Words of parameters that change n8n's own state, which a result that is taken would not. */
const STATEFUL = /getWorkflowStaticData|customData/;

/** Options of a native agent. */
class NodeRules {
	/**
	 * @param {Record<string, unknown>} options `once` and `again`: names of nodes; see `ToolRules` of the contract.
	 * @throws {AgentError} One is no list of names, or names a node of the other.
	 */
	constructor(options) {
		this.once = names(options, 'once');
		this.again = names(options, 'again');
		const both = [...this.once].find((name) => this.again.has(name));
		if (both !== undefined) {
			throw refused(`the node '${both}' is in both options.once and options.again: choose one`);
		}
	}

	/**
	 * Refuse rules that could not be kept: a slip would let a node run twice.
	 *
	 * @param {Workflow[]} workflows All that can run. @param {boolean} complete Whether no other can.
	 * @param {(node: Node) => boolean} isTrigger
	 */
	check(workflows, complete, isTrigger) {
		const nodes = workflows.flatMap((workflow) => workflow.nodes.map((node) => ({ node, workflow })));
		const known = new Set(nodes.map(({ node }) => node.name));
		for (const option of /** @type {const} */ (['once', 'again'])) {
			const unknown = [...this[option]].find((name) => !known.has(name));
			if (unknown === undefined || !complete) continue;
			const there = [...known].sort().join(', ');
			throw refused(`options.${option} names '${unknown}', and no node of the workflow is called so; it has ${there}`);
		}
		for (const { node, workflow } of nodes) {
			if (!this.once.has(node.name)) continue;
			const what = `options.once names the node '${node.name}',`;
			if (isTrigger(node)) throw refused(`${what} which begins the workflow and has no effect`);
			if (INSIDE.has(node.type)) throw refused(`${what} whose kind '${node.type}' has no effect outside of the execution`);
			if (isMadeOfNodes(workflow, node.name)) throw refused(`${what} which works with other nodes: name its tools`);
			if (/** @type {any} */ (node).retryOnFail) throw refused(`${what} which is to be retried when it fails: turn one off`);
		}
	}

	/**
	 * @param {Node} node @param {{connectionsByDestinationNode: Record<string, any>}} workflow n8n's own.
	 * @returns {boolean} Whether its runs are in the journal.
	 */
	journals(node, workflow) {
		if (this.once.has(node.name)) return true;
		if (this.again.has(node.name) || node.type.startsWith('CUSTOM.')) return false;
		const inputs = Object.keys(workflow.connectionsByDestinationNode[node.name] ?? {});
		if (inputs.some((kind) => kind !== 'main')) return false; // its model's calls and its tools are in the journal
		const words = JSON.stringify(node.parameters);
		if (STATEFUL.test(words) || INSIDE.has(node.type)) return false;
		return !PURE.has(node.type.replace(/Tool$/, '')) || MADE_UP.test(words);
	}
}

/** @param {Workflow} workflow @param {string} name @returns {boolean} Whether a node has models, tools or the like. */
function isMadeOfNodes({ connections }, name) {
	return Object.values(connections).some((outputs) =>
		Object.entries(outputs ?? {}).some(
			([kind, targets]) => kind !== 'main' && JSON.stringify(targets).includes(`"node":${JSON.stringify(name)}`),
		),
	);
}

/** @param {Record<string, unknown>} options @param {string} option @returns {Set<string>} */
function names(options, option) {
	const found = options[option] ?? [];
	if (Array.isArray(found) && found.every((name) => typeof name === 'string')) return new Set(found);
	const shown = JSON.stringify(isObject(found) ? '{…}' : found).slice(0, 100);
	throw refused(`options.${option} must be a list of names of nodes, got ${shown}`);
}

/** @param {string} why @returns {AgentError} */
function refused(why) {
	return new AgentError('agent_load_failed', why);
}

module.exports = { NodeRules };
