'use strict';
/** A portable agent as an n8n workflow: a trigger, an AI Agent, its model, and the tools and the memory of this runtime. */

const AGENT = 'Agent';

/** @typedef {import('./workflows').Workflow} Workflow */

/**
 * Build the workflow of one execution.
 *
 * @param {Record<string, any>} agent The portable agent. @param {string} question @param {boolean} tools Whether it has any.
 * @returns {Workflow}
 */
function portableWorkflow(agent, question, tools) {
	const model = {
		model: { __rl: true, mode: 'id', value: agent.model },
		responsesApiEnabled: false,
		options: { maxRetries: 0, ...(agent.temperature != null && { temperature: agent.temperature }) },
	};
	const parameters = {
		promptType: 'define',
		text: literal(question),
		options: { systemMessage: literal(agent.instructions), maxIterations: 1_000_000, enableStreaming: false },
	};
	const nodes = [
		node('Start', 'n8n-nodes-base.manualTrigger', 1, {}),
		node(AGENT, '@n8n/n8n-nodes-langchain.agent', 2.2, parameters),
		node('Model', '@n8n/n8n-nodes-langchain.lmChatOpenAi', 1.3, model, { openAiApi: { id: 'model', name: 'model' } }),
		node('Memory', 'CUSTOM.orchestratorMemory', 1, {}),
		...(tools ? [node('Tools', 'CUSTOM.orchestratorTools', 1, {})] : []),
	];
	const connections = {
		Start: to('main'),
		Model: to('ai_languageModel'),
		Memory: to('ai_memory'),
		...(tools && { Tools: to('ai_tool') }),
	};
	return { name: agent.name, nodes, connections, settings: { executionOrder: 'v1' } };
}

/** @param {string} kind Of connection. */
function to(kind) {
	return { [kind]: [[{ node: AGENT, type: kind, index: 0 }]] };
}

/** @param {string} name @param {string} type @param {number} typeVersion @param {object} parameters
 * @param {Record<string, unknown>} [credentials] */
function node(name, type, typeVersion, parameters, credentials) {
	return { id: name, name, type, typeVersion, position: [0, 0], parameters, ...(credentials && { credentials }) };
}

/** @param {string} text @returns {string} A parameter with exactly this value: one that begins with `=` is an expression. */
function literal(text) {
	return text.startsWith('=') ? `={{ ${JSON.stringify(text).replaceAll('}}', '}\\u007d')} }}` : text;
}

module.exports = { portableWorkflow };
