'use strict';
/**
 * Executions by n8n's id. Our nodes are loaded by n8n, perhaps as a second copy of this module, and find them here.
 *
 * @typedef {object} Running
 * @property {import('./memories').Memories} memories Of the session.
 * @property {import('./tool_guest').Tool[]} tools
 * @property {(name: string, values: Record<string, unknown>) => Promise<string>} call
 */

const KEY = Symbol.for('orchestrator.n8n.running');
const shared = /** @type {Record<symbol, Map<string, Running> | undefined>} */ (globalThis);

/** @type {Map<string, Running>} */
const executions = (shared[KEY] ??= new Map());

/** @param {string} id @param {Running} running */
function add(id, running) {
	executions.set(id, running);
}

/** @param {string} id */
function remove(id) {
	executions.delete(id);
}

/** @param {string} id @returns {Running} */
function get(id) {
	const found = executions.get(id);
	if (found === undefined) throw new Error('this node only works in an execution of the orchestrator');
	return found;
}

module.exports = { add, get, remove };
