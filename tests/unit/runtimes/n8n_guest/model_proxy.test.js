'use strict';
/** An address of the proxy is an execution's own; what comes to any other is refused. */

const assert = require('node:assert/strict');
const { test } = require('node:test');

const { ModelProxy } = require('../../../../runtimes/n8n/orchestrator_n8n/guest/model_proxy');

/** @param {string} url @returns {Promise<[number, string]>} Status, and what is told. */
async function call(url) {
	const answer = await fetch(`${url}/chat/completions`, { method: 'POST', body: '{}', headers: { connection: 'close' } });
	const told = /** @type {any} */ (await answer.json());
	return [answer.status, told.error.message];
}

test('a model call that belongs to no running execution is refused', async () => {
	const proxy = new ModelProxy();
	await proxy.listen(0);
	const execution = /** @type {any} */ ({ run: { model: null } });
	const { url, close } = proxy.open(execution, {});
	assert.deepEqual(await call(url), [400, 'AgentError: this execution was given no model endpoint']);
	const refused = [404, 'there is no such address: a model call outside of any execution is refused'];
	assert.deepEqual(await call(url.replace(/[0-9a-f]{32}/, 'f'.repeat(32))), refused);
	close();
	assert.deepEqual(await call(url), refused, 'the execution has ended');
});
