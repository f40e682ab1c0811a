'use strict';
/** A workflow that waits for a time is waited for, when that ends within what the execution may take. */

const assert = require('node:assert/strict');
const { test } = require('node:test');

const { N8nRuntime } = require('../../../../runtimes/n8n/orchestrator_n8n/guest/runtime');

const WAIT = { name: 'Later', type: 'n8n-nodes-base.wait', typeVersion: 1.1, parameters: {} };

/**
 * @param {number} milliseconds How long the workflow waits, twice. @param {number} seconds Limit of the execution.
 * @param {Record<string, unknown>} [parameters] Of the node that waits.
 */
async function run(milliseconds, seconds, parameters = {}) {
	/** @type {unknown[]} */
	const resumed = [];
	const waiting = () => ({ node: 'Later', till: new Date(Date.now() + milliseconds), state: `state ${resumed.length}` });
	const ended = { items: [{ done: true }], lastNode: 'Later', error: null };
	const n8n = {
		run: async () => ({ ...ended, waiting: waiting() }),
		resume: async (/** @type {any} */ _workflow, /** @type {string} */ state, /** @type {unknown} */ items) => {
			resumed.push([state, items]);
			return { ...ended, waiting: resumed.length < 2 ? waiting() : null };
		},
	};
	const proxy = { open: () => ({ url: 'http://model.invalid/v1', close: () => {} }) };
	const execution = {
		run: { inputs: {}, session: 's' },
		limits: { seconds },
		seconds: 0,
		stopping: new AbortController(),
		check: () => {},
		emit: async () => {},
		say: async () => {},
		loadState: async () => null,
		saveState: async () => {},
	};
	const agent = { workflow: { name: 'w', nodes: [{ ...WAIT, parameters }], connections: {}, settings: {} }, start: {}, tools: [] };
	const runtime = new N8nRuntime(/** @type {any} */ (n8n), /** @type {any} */ (proxy), /** @type {any} */ ({}));
	const { finishReason } = await runtime.run(agent, /** @type {any} */ (execution));
	return { finishReason, resumed };
}

test('every wait is waited for and goes on with what the node was given', async () => {
	const began = performance.now();
	const { finishReason, resumed } = await run(60, 10);
	assert.equal(finishReason, 'completed');
	assert.deepEqual(resumed, [['state 0', null], ['state 1', null]]);
	assert.ok(performance.now() - began >= 115);
});

test('a time that has passed is not waited for', async () => {
	assert.equal((await run(-1000, 10)).finishReason, 'completed');
});

test('a wait beyond the limit interrupts', async () => {
	assert.deepEqual(await run(60_000, 10), { finishReason: 'interrupted', resumed: [] });
});

test('a decision is not waited for, however soon its time is over', async () => {
	assert.deepEqual(await run(10, 10, { resume: 'webhook' }), { finishReason: 'interrupted', resumed: [] });
});
