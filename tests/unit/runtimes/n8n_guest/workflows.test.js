'use strict';
/** An exported file is read as it is, or refused by the name of what cannot run; items are made of any input. */

const assert = require('node:assert/strict');
const { test } = require('node:test');

const workflows = require('../../../../runtimes/n8n/orchestrator_n8n/guest/workflows');

const { calledBy, itemsOf, outputOf, readWorkflow, startOf, waitsForTime } = workflows;
const MEMORY = '@n8n/n8n-nodes-langchain.memoryBufferWindow';

const START = { name: 'Start', type: 'trigger' };
const known = (/** @type {string} */ type) => type !== 'unknown';
const isTrigger = (/** @type {{type: string}} */ node) => node.type === 'trigger';

/** @param {unknown} found @returns {ReturnType<typeof readWorkflow>} */
function read(found) {
	return readWorkflow(JSON.stringify(found), 'a.json', known);
}

/** @param {unknown[]} nodes @param {object} [connections] */
function workflow(nodes, connections = {}) {
	return { nodes, connections };
}

/** @type {[string, unknown, RegExp][]} */
const REFUSED = [
	['null', null, /is no exported workflow/],
	['a list', [], /is no exported workflow/],
	['nodes that are no list', { nodes: {}, connections: {} }, /is no exported workflow/],
	['no connections', { nodes: [] }, /is no exported workflow/],
	['a node that is null', workflow([null]), /has a node without a name or a type/],
	['a node without a name', workflow([{ type: 'trigger' }]), /has a node without a name or a type/],
	['a type that is no text', workflow([{ name: 'a', type: 5 }]), /has a node without a name or a type/],
	['an unknown node', workflow([{ name: 'Odd', type: 'unknown' }]), /'Odd' of type 'unknown', which is not installed/],
	['credentials', workflow([{ ...START, credentials: { slackApi: {} } }]), /of type 'slackApi'; .* openAiApi,.* only/],
	['a name that is there twice', workflow([START, START]), /has two nodes named 'Start'/],
	[
		'a target that is not there',
		workflow([START], { Start: { main: [[{ node: 'Gone' }]] } }),
		/connects 'Start' with 'Gone'/,
	],
	['a source that is not there', workflow([START], { Gone: {} }), /connects 'Gone' with 'Gone'/],
];

for (const [name, found, message] of REFUSED) {
	test(`a workflow with ${name} is refused`, () => {
		assert.throws(() => read(found), { name: 'AgentError', code: 'agent_load_failed', message });
	});
}

test('what is no JSON is refused by the name of its file', () => {
	const message = /^the workflow 'a\.json' is no JSON: SyntaxError/;
	assert.throws(() => readWorkflow('{', 'a.json', known), { code: 'agent_load_failed', message });
});

test('a node gets the version and the parameters that an export may leave out', () => {
	const versions = /** @type {unknown[]} */ ([]);
	const text = JSON.stringify(workflow([START, { name: 'b', type: 'set', typeVersion: 3.4, parameters: { x: 1 } }]));
	const noted = (/** @type {string} */ type, /** @type {number} */ version) => versions.push([type, version]) > 0;
	const { name, settings, nodes } = readWorkflow(text, 'a.json', noted);
	assert.deepEqual([name, settings], ['a.json', {}]);
	assert.deepEqual(nodes[0], { ...START, typeVersion: 1, parameters: {} });
	assert.deepEqual(nodes[1].parameters, { x: 1 });
	assert.deepEqual(versions, [
		['trigger', 1],
		['set', 3.4],
	]);
});

test('what a workflow has beside its nodes is kept', () => {
	const settings = { executionOrder: 'v1' };
	const found = read({ ...workflow([START]), name: 'mine', settings, pinData: {} });
	assert.deepEqual([found.name, found.settings, 'pinData' in found], ['mine', settings, true]);
	const bare = read({ ...workflow([START]), name: null, settings: null });
	assert.deepEqual([typeof bare.name, bare.settings], ['string', {}]);
});

test('a disabled node may be of any type and need any credentials', () => {
	const disabled = { name: 'Odd', type: 'unknown', disabled: true, credentials: { slackApi: {} } };
	assert.equal(read(workflow([START, disabled])).nodes.length, 2);
});

test("a model's credentials, and connections of every kind and shape that an export has, are taken", () => {
	const model = { name: 'Model', type: 'model', credentials: { openAiApi: { id: '1' } } };
	const connections = {
		Start: { main: [null, [{ node: 'Model' }]] },
		Model: { ai_languageModel: [[{ node: 'Start' }], []] },
	};
	assert.deepEqual(read(workflow([START, model], connections)).connections, connections);
	assert.equal(read(workflow([START], { Start: null })).nodes.length, 1);
});

/** @type {[number, object, object][]} */
const MEMORIES = [
	[1.3, {}, { sessionKey: '', contextWindowLength: 5 }],
	[1.3, { sessionKey: 'unused', contextWindowLength: 9 }, { sessionKey: '', contextWindowLength: 9 }],
	[1.3, { sessionIdType: 'customKey', sessionKey: 'mine' }, { sessionKey: 'mine', contextWindowLength: 5 }],
	[1.3, { sessionIdType: 'customKey', sessionKey: '={{ $json.sessionId }}' }, { sessionKey: '', contextWindowLength: 5 }],
	[1.1, { sessionKey: 'old' }, { sessionKey: 'old', contextWindowLength: 5 }],
	[1, {}, { sessionKey: '', contextWindowLength: 5 }],
];

for (const [typeVersion, given, parameters] of MEMORIES) {
	test(`memory of version ${typeVersion} with ${JSON.stringify(given)} is kept in the session`, () => {
		const memory = { name: 'Memory', type: MEMORY, typeVersion, parameters: given };
		const [, node] = read(workflow([START, memory])).nodes;
		assert.deepEqual(node, { name: 'Memory', type: 'CUSTOM.orchestratorMemory', typeVersion: 1, parameters });
	});
}

test('the workflows that a workflow calls are those that its nodes name, not those that are found when it runs', () => {
	const ids = [{ value: 'a', mode: 'list' }, 'b', { value: '={{ $json.id }}' }, '', undefined, { value: 5 }];
	const callers = ids.map((workflowId, at) => ({ name: `n${at}`, type: 'call', parameters: { workflowId } }));
	const off = { name: 'off', type: 'call', disabled: true, parameters: { workflowId: 'c' } };
	const inline = { name: 'inline', type: 'call', parameters: { source: 'parameter', workflowId: 'd' } };
	const stored = { name: 'stored', type: 'call', parameters: { source: 'database', workflowId: 'e' } };
	assert.deepEqual(calledBy(read(workflow([...callers, off, inline, stored]))), ['a', 'b', 'e']);
});

test('a node waits for a time unless it waits for a call or a form', () => {
	const wait = (/** @type {string} */ name, /** @type {object} */ parameters) => {
		return { name, type: 'n8n-nodes-base.wait', parameters };
	};
	const waiting = [wait('time', {}), wait('call', { resume: 'webhook' }), wait('form', { resume: 'form' })];
	const found = read(workflow([START, ...waiting]));
	const waits = ['time', 'call', 'form', 'Start', 'Gone'].map((name) => waitsForTime(found, name));
	assert.deepEqual(waits, [true, false, false, false, false]);
});

test('the only trigger is the start, and one of several is chosen by its name', () => {
	const one = read(workflow([{ name: 'b', type: 'set' }, START, { ...START, name: 'Off', disabled: true }]));
	assert.equal(startOf(one, 'a.json', isTrigger, undefined).name, 'Start');
	const two = read(workflow([START, { ...START, name: 'Other' }]));
	assert.equal(startOf(two, 'a.json', isTrigger, 'Other').name, 'Other');
	/** @type {[typeof one, unknown, RegExp][]} */
	const refused = [
		[two, undefined, /it has Start, Other: choose one by options\.trigger$/],
		[two, 'Gone', /it has Start, Other: choose one by options\.trigger$/],
		[one, 'Gone', /it has Start$/],
		[read(workflow([])), undefined, /it has none$/],
	];
	for (const [found, chosen, message] of refused) {
		assert.throws(() => startOf(found, 'a.json', isTrigger, chosen), { code: 'agent_load_failed', message });
	}
});

test('any input becomes items, and items an output', () => {
	assert.deepEqual(itemsOf(null), [{}]);
	assert.deepEqual(itemsOf(undefined), [{}]);
	assert.deepEqual(itemsOf({ a: 1 }), [{ a: 1 }]);
	assert.deepEqual(itemsOf([]), []);
	assert.deepEqual(itemsOf([{ a: 1 }, 'b', 0, null]), [
		{ a: 1 },
		...['b', '0', 'null'].map((text) => ({ chatInput: text, input: text })),
	]);
	assert.deepEqual(outputOf([{ a: 1 }]), { a: 1 });
	assert.deepEqual(outputOf([{ a: 1 }, { b: 2 }]), [{ a: 1 }, { b: 2 }]);
	assert.deepEqual(outputOf([]), []);
});
