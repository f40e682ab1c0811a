'use strict';
/** Workflows that a workflow calls: files of the same bundle, found by the ids that n8n exported them with. */

const fs = require('node:fs/promises');
const path = require('node:path');

const { AgentError } = require('./errors');
const { calledBy, readWorkflow } = require('./workflows');

/** @typedef {import('./workflows').Workflow} Workflow */

/**
 * @param {string} folder Of a bundle. @param {(type: string, version: number) => boolean} known
 * @returns {Promise<(id: string) => Workflow>} The bundle's workflow with an id.
 */
async function subWorkflows(folder, known) {
	const names = (await fs.readdir(folder, { recursive: true })).filter((name) => name.endsWith('.json'));
	/** @type {Map<string, {name: string, text: string}>} */
	const found = new Map();
	for (const name of names) {
		const text = await fs.readFile(path.join(folder, name), 'utf8').catch(() => '');
		const id = idOf(text);
		if (id !== null) found.set(id, { name, text });
	}
	return (id) => {
		const { name, text } = found.get(id) ?? {};
		if (name !== undefined && text !== undefined) return readWorkflow(text, name, known);
		const what = `the workflow '${id.slice(0, 80)}' is called, and no file of the bundle has this id`;
		throw new AgentError('agent_load_failed', `${what}: export it into the agent's folder`);
	};
}

/** @param {string} text Of a file. @returns {string | null} The id of the workflow in it; null when it is none. */
function idOf(text) {
	try {
		const { id, nodes } = JSON.parse(text);
		return typeof id === 'string' && Array.isArray(nodes) ? id : null;
	} catch {
		return null;
	}
}

/**
 * Return a workflow and those that it, or one of them, calls by their ids.
 *
 * @param {Workflow} workflow @param {(id: string) => Workflow} subWorkflow Throws when there is none, or a node is missing.
 * @returns {Workflow[]}
 */
function reached(workflow, subWorkflow) {
	const wanted = calledBy(workflow);
	/** @type {Map<string, Workflow>} */
	const found = new Map();
	for (let id = wanted.pop(); id !== undefined; id = wanted.pop()) {
		if (found.has(id)) continue;
		found.set(id, subWorkflow(id));
		wanted.push(...calledBy(/** @type {Workflow} */ (found.get(id))));
	}
	return [workflow, ...found.values()];
}

module.exports = { reached, subWorkflows };
