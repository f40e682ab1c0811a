'use strict';
/** What of a native workflow's steps is taken from the journal, and what is recorded there. */

const assert = require('node:assert/strict');
const { test } = require('node:test');

const guest = '../../../../runtimes/n8n/orchestrator_n8n/guest';
const { AgentError } = require(`${guest}/errors`);
const { NOT_KEPT, NativeSteps } = require(`${guest}/native_steps`);

/** A journal in memory, with the executions that ask it. */
class Journal {
	constructor() {
		/** @type {Map<string, {state: string, result?: string}>} */
		this.steps = new Map();
		/** @type {string[]} */
		this.lines = [];
	}

	/** @param {Record<string, number>} [counts] @returns {any} Steps of a further try. */
	try(counts) {
		/** @type {any} */
		const execution = {
			stopped: null,
			check: () => {},
			stop: (/** @type {unknown} */ error) => (execution.stopped ??= error),
			callHost: async (/** @type {string} */ method, /** @type {any} */ params) => this._answer(method, params),
			log: async (/** @type {string} */ line) => this.lines.push(line),
		};
		return Object.assign(new NativeSteps(/** @type {any} */ (execution), counts), { execution });
	}

	/** @param {string} method @param {any} params */
	_answer(method, { step, occurrence, once, result }) {
		const key = `${step} ${occurrence}`;
		const found = this.steps.get(key) ?? { state: 'new' };
		if (method === 'step.record') this.steps.set(key, { state: 'finished', result });
		else if (once && found.state === 'new') this.steps.set(key, { state: 'started' });
		return found;
	}
}

/** @param {any} steps @param {unknown} told @param {unknown} result @param {object} [more] @returns {Promise<unknown>} */
function through(steps, told, result, more = {}) {
	const same = async (/** @type {unknown} */ value) => value;
	return steps.through({ name: 'Pay', told, once: false, run: async () => result, keep: same, give: same, ...more });
}

test('a finished step is taken, by its name, what it depends on and how often it came up', async () => {
	const journal = new Journal();
	const first = journal.try();
	assert.equal(await through(first, { a: 1, b: 2 }, 'one'), 'one');
	assert.equal(await through(first, { b: 2, a: 1 }, 'two'), 'two');
	const second = journal.try();
	assert.equal(await through(second, { b: 2, a: 1 }, 'other'), 'one');
	assert.equal(await through(second, { a: 1, b: 2 }, 'other'), 'two');
	assert.deepEqual([second.tookFor('Pay'), second.tookFor('Pay'), second.tookFor('Pay')], [true, true, false]);
	assert.equal(await through(second, { a: 1, b: 3 }, 'new'), 'new');
	assert.equal(await through(second, { a: 1, b: 2 }, 'third', { name: 'Ask' }), 'third');
	assert.equal(await through(journal.try(first.counts), { a: 1, b: 2 }, 'later'), 'later', 'counted on after a wait');
});

test('attempts of one run are one step', async () => {
	const journal = new Journal();
	const [first, second] = [journal.try(), journal.try()];
	const attempt = {};
	await assert.rejects(through(first, 1, null, { attempt, run: async () => Promise.reject(new Error('down')) }));
	assert.equal(await through(first, 1, 'up', { attempt }), 'up');
	assert.equal(await through(second, 1, 'again', { attempt: {} }), 'up');
});

test('what JSON does not give back is not recorded, and told', async () => {
	class Own {}
	for (const odd of [new Date(), new Own(), [NaN], { a: 1n }, 'x'.repeat(1_000_001), NOT_KEPT]) {
		const journal = new Journal();
		assert.equal(await through(journal.try(), 1, odd), odd);
		assert.equal(journal.steps.size, 0);
		assert.match(journal.lines[0], /the output of the node 'Pay' is not journaled/);
	}
	const journal = new Journal();
	await through(journal.try(), 1, undefined);
	assert.deepEqual([journal.steps.size, journal.lines.length], [0, 0], 'it has not ended');
	const output = [[{ json: { a: [null, true, 1.5] }, binary: undefined }]];
	await through(journal.try(), 1, output);
	assert.deepEqual(await through(journal.try(), 1, 'again'), JSON.parse(JSON.stringify(output)));
});

test('what may run only once, and was begun, stops the execution', async () => {
	const journal = new Journal();
	const down = { once: true, run: async () => Promise.reject(new Error('down')) };
	await assert.rejects(through(journal.try(), 1, null, down), /down/);
	const second = journal.try();
	const message = /the node 'Pay' was started by an earlier try and may run only once; its result is unknown/;
	await assert.rejects(through(second, 1, 'paid', { once: true }), { code: 'tool_failed', message });
	assert.deepEqual(second.execution.stopped.detail, { tool: 'Pay', state: 'started' });
	assert.equal(await through(journal.try(), 1, 'paid'), 'paid');
});

test('a journal that does not answer stops the execution', async () => {
	for (const [error, code] of /** @type {const} */ ([
		[new AgentError('limit_exceeded', 'full'), 'limit_exceeded'],
		[new Error('gone'), 'state_unavailable'],
	])) {
		const steps = new Journal().try();
		steps.execution.callHost = async () => Promise.reject(error);
		await assert.rejects(through(steps, 1, 'paid'), { code });
		assert.equal(steps.execution.stopped.code, code);
	}
});
