'use strict';
/** Workflows as data: reading an exported file, and what of it this runtime can run. */

const { AgentError } = require('./errors');
const { isObject, list } = require('./schemas');

/**
 * Credentials that stand for a model; they are resolved to the endpoint of the execution, whatever they hold. Their
 * nodes take the address from them and speak the dialect of the contract's endpoints.
 */
const MODEL_CREDENTIALS = [
	'openAiApi',
	'deepSeekApi',
	'moonshotApi',
	'nvidiaApi',
	'openRouterApi',
	'vercelAiGatewayApi',
	'xAiApi',
];

const PROCESS_MEMORY = '@n8n/n8n-nodes-langchain.memoryBufferWindow';
const MESSAGES_KEPT = 5;

/** @typedef {{name: string, type: string, typeVersion: number, disabled?: boolean, parameters: Record<string, any>,
 *   credentials?: Record<string, unknown>}} Node */
/** @typedef {{name: string, nodes: Node[], connections: Record<string, any>, settings: Record<string, any>}} Workflow */

/**
 * Read an exported workflow and refuse what could only fail later.
 *
 * @param {string} text Of the file. @param {string} where Its name, for errors.
 * @param {(type: string, version: number) => boolean} known Whether a node type is installed.
 * @returns {Workflow}
 */
function readWorkflow(text, where, known) {
	const refused = (/** @type {string} */ why) => new AgentError('agent_load_failed', `the workflow '${where}' ${why}`);
	let found;
	try {
		found = JSON.parse(text);
	} catch (error) {
		throw refused(`is no JSON: ${error}`);
	}
	if (!isObject(found) || !Array.isArray(found.nodes) || !isObject(found.connections)) {
		throw refused('is no exported workflow: it needs "nodes" and "connections"');
	}
	for (const node of found.nodes) {
		if (!isObject(node) || typeof node.name !== 'string' || typeof node.type !== 'string') {
			throw refused('has a node without a name or a type');
		}
		node.parameters ??= {};
		node.typeVersion ??= 1;
		if (!node.disabled && !known(node.type, node.typeVersion)) {
			throw refused(`has the node '${node.name}' of type '${node.type}', which is not installed or needs a licence`);
		}
		if (node.type === PROCESS_MEMORY) Object.assign(node, sessionMemory(/** @type {Node} */ (node)));
		for (const type of Object.keys(node.credentials ?? {})) {
			if (node.disabled || MODEL_CREDENTIALS.includes(type)) continue;
			const what = `has the node '${node.name}', which needs credentials of type '${type}'`;
			throw refused(`${what}; this runtime resolves ${MODEL_CREDENTIALS.join(', ')} only`);
		}
	}
	const names = found.nodes.map((/** @type {Node} */ node) => node.name);
	const twice = names.find((/** @type {string} */ name, /** @type {number} */ at) => names.indexOf(name) !== at);
	if (twice !== undefined) throw refused(`has two nodes named '${twice}'`);
	for (const [from, outputs] of Object.entries(found.connections)) {
		const targets = Object.values(outputs ?? {}).flatMap((kind) => list(kind).flatMap(list));
		const missing = [from, ...targets.map((target) => target?.node)].find((name) => !names.includes(name));
		if (missing !== undefined) throw refused(`connects '${from}' with '${missing}', and a node of them is not there`);
	}
	const { nodes, connections, name, settings } = found;
	return { ...found, nodes, connections, name: name ?? where, settings: settings ?? {} };
}

/** @param {Node} node Whose messages would end with n8n's process. @returns {object} One that keeps them in the session. */
function sessionMemory({ typeVersion, parameters }) {
	const custom = typeVersion < 1.2 || parameters.sessionIdType === 'customKey';
	const key = custom ? String(parameters.sessionKey ?? '') : '';
	return {
		type: 'CUSTOM.orchestratorMemory',
		typeVersion: 1,
		parameters: {
			sessionKey: key.includes('$json.sessionId') ? '' : key, // the execution's own session has no other name
			contextWindowLength: parameters.contextWindowLength ?? MESSAGES_KEPT,
		},
	};
}

/** @param {Workflow} workflow @returns {string[]} Ids of the workflows that its nodes name as those they call. */
function calledBy({ nodes }) {
	const stored = nodes.filter(({ disabled, parameters: { source } }) => !disabled && (source ?? 'database') === 'database');
	const ids = stored.map(({ parameters: { workflowId } }) => workflowId?.value ?? workflowId);
	return ids.filter((id) => typeof id === 'string' && id !== '' && !id.startsWith('='));
}

/** @param {Workflow} workflow @returns {boolean} Whether a node calls a workflow that is known only as it runs. */
function callsUnknown({ nodes }) {
	return nodes.some(({ parameters: { workflowId, workflowJson } }) => {
		const id = workflowId?.value ?? workflowId;
		return workflowJson !== undefined || (typeof id === 'string' && id.startsWith('='));
	});
}

/**
 * The node that a workflow begins with.
 *
 * @param {Workflow} workflow @param {string} where Its file, for errors.
 * @param {(node: Node) => boolean} isTrigger
 * @param {unknown} chosen Option `trigger`: a name where there are several.
 * @returns {Node}
 */
function startOf(workflow, where, isTrigger, chosen) {
	const triggers = workflow.nodes.filter((node) => !node.disabled && isTrigger(node));
	const names = triggers.map((node) => node.name).join(', ') || 'none';
	const found = chosen === undefined ? triggers[0] : triggers.find((node) => node.name === chosen);
	if (found && (chosen !== undefined || triggers.length === 1)) return found;
	const what = `the workflow '${where}' must have one trigger to begin with; it has ${names}`;
	throw new AgentError('agent_load_failed', triggers.length > 1 ? `${what}: choose one by options.trigger` : what);
}

/** @param {Workflow} workflow @param {string} name Of a node that waits. @returns {boolean} Whether no decision ends it. */
function waitsForTime({ nodes }, name) {
	const waiting = nodes.find((node) => node.name === name);
	return waiting?.type === 'n8n-nodes-base.wait' && !['webhook', 'form'].includes(waiting.parameters.resume);
}

/** @param {unknown} inputs Of an execution. @returns {Record<string, unknown>[]} The JSON of the trigger's items. */
function itemsOf(inputs) {
	if (inputs == null) return [{}];
	return (Array.isArray(inputs) ? inputs : [inputs]).map((item) => (isObject(item) ? item : textItem(String(item))));
}

/** @param {string} text @returns {Record<string, unknown>} An item that chat, form and plain triggers' successors read. */
function textItem(text) {
	return { chatInput: text, input: text };
}

/** @param {Record<string, unknown>[]} items @returns {unknown} One item is its JSON, several are a list. */
function outputOf(items) {
	return items.length === 1 ? items[0] : items;
}

module.exports = { calledBy, callsUnknown, itemsOf, outputOf, readWorkflow, startOf, waitsForTime };
