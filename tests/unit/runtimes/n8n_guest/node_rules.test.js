'use strict';
/** Which nodes are in the journal, and which rules are refused. */

const assert = require('node:assert/strict');
const { test } = require('node:test');

const { NodeRules } = require('../../../../runtimes/n8n/orchestrator_n8n/guest/node_rules');

/** @param {string} type @param {object} [parameters] @param {object} [more] @returns {any} */
function node(type, parameters = {}, more = {}) {
	const full = type.includes('.') ? type : `n8n-nodes-base.${type}`;
	return { name: 'It', type: full, typeVersion: 1, parameters, ...more };
}

/** @param {any} one @param {object} [options] @param {object} [inputs] @returns {boolean} */
function journaled(one, options = {}, inputs = {}) {
	return new NodeRules({ ...options }).journals(one, { connectionsByDestinationNode: { It: inputs } });
}

test('what has an effect, what nobody knows, and what makes something up is journaled', () => {
	for (const kind of ['httpRequest', 'httpRequestTool', 'code', 'postgres', 'emailSend', 'dateTime', 'crypto', 'own.kind']) {
		assert.equal(journaled(node(kind)), true, kind);
	}
	for (const kind of ['set', 'if', 'splitInBatches', 'executeWorkflow', 'CUSTOM.orchestratorTools']) {
		assert.equal(journaled(node(kind)), false, kind);
	}
	assert.equal(journaled(node('set', { value: '={{ $now }}' })), true);
	assert.equal(journaled(node('splitInBatches', { value: '={{ $now }}' })), false);
});

test('what works with a model, or on the state of n8n, runs again', () => {
	assert.equal(journaled(node('own.agent'), {}, { main: [], ai_languageModel: [] }), false);
	assert.equal(journaled(node('code', { jsCode: "$getWorkflowStaticData('global').n = 1" })), false);
});

test('the options of the agent decide before that', () => {
	assert.equal(journaled(node('code'), { again: ['It'] }), false);
	assert.equal(journaled(node('set'), { once: ['It'] }), true);
});

test('what cannot be kept is refused by name', () => {
	const connections = { Model: { ai_languageModel: [[{ node: 'It', type: 'ai_languageModel', index: 0 }]] } };
	const agent = { name: 'w', nodes: [node('own.agent')], connections, settings: {} };
	const rules = new NodeRules({ once: ['It'] });
	const check = (/** @type {any} */ workflow, complete = true) => () => rules.check([workflow], complete, () => false);
	assert.throws(check(agent), /'It', which works with other nodes: name its tools/);
	const other = { ...agent, nodes: [node('code', {}, { name: 'Other' })] };
	assert.throws(check(other), /options.once names 'It', and no node of the workflow is called so; it has Other/);
	check(other, false)(); // a workflow that is known only as it runs may have it
	assert.throws(() => new NodeRules({ again: [1] }), /options.again must be a list of names of nodes, got \[1\]/);
	assert.throws(() => new NodeRules({ once: {} }), { code: 'agent_load_failed' });
});
