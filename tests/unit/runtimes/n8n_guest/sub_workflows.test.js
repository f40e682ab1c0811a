'use strict';
/** Called workflows are found in the bundle by their ids, whatever else lies there. */

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { test } = require('node:test');

const { reached, subWorkflows } = require('../../../../runtimes/n8n/orchestrator_n8n/guest/sub_workflows');

const known = (/** @type {string} */ type) => type !== 'unknown';

/** @param {string | undefined} id @param {...string} calls Ids. @returns {any} */
function calling(id, ...calls) {
	const nodes = calls.map((workflowId) => ({ name: `to ${workflowId}`, type: 'call', parameters: { workflowId } }));
	return { id, name: `named ${id}`, nodes, connections: {} };
}

/**
 * @param {Record<string, unknown>} files Texts stay as they are; what is none is written as JSON.
 * @param {(find: Awaited<ReturnType<typeof subWorkflows>>) => void} scenario
 */
async function inBundle(files, scenario) {
	const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'bundle-'));
	try {
		for (const [name, content] of Object.entries(files)) {
			const file = path.join(folder, name);
			fs.mkdirSync(path.dirname(file), { recursive: true });
			fs.writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
		}
		scenario(await subWorkflows(folder, known));
	} finally {
		fs.rmSync(folder, { recursive: true });
	}
}

test('a workflow is found by its id, in any folder and beside anything', async () => {
	const others = { 'a.json': '{', 'b.json': 'null', 'c.json': [], 'd.json': { id: 5, nodes: [] }, 'e.json/x.txt': '' };
	await inBundle({ ...others, 'deep/er/one.json': calling('one'), 'note.txt': calling('text') }, (find) => {
		assert.equal(find('one').name, 'named one');
		const message = /^the workflow 'text' is called, and no file of the bundle has this id/;
		assert.throws(() => find('text'), { code: 'agent_load_failed', message });
		assert.throws(() => find('x'.repeat(1000)), ({ message: told }) => told.length < 250);
	});
});

test('all that is called must be there and run, however far, and circles end', async () => {
	const unknown = { id: 'odd', nodes: [{ name: 'Odd', type: 'unknown' }], connections: {} };
	const files = { 'a.json': calling('a', 'b'), 'b.json': calling('b', 'a', 'b'), 'c.json': calling('c', 'a', 'gone') };
	await inBundle({ ...files, 'odd.json': unknown }, (find) => {
		const names = reached(calling(undefined, 'a', 'a'), find).map((one) => one.name);
		assert.deepEqual(names, ['named undefined', 'named a', 'named b']);
		assert.throws(() => reached(calling(undefined, 'c'), find), /the workflow 'gone' is called/);
		assert.throws(() => reached(calling(undefined, 'odd'), find), /the workflow 'odd\.json' has the node 'Odd'/);
	});
});
