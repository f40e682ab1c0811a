'use strict';
/**
 * Everything that reaches inside n8n. Checked against n8n 2.40.7; the conformance suite fails when a seam moves.
 *
 * A workflow runs by `WorkflowExecute` itself: no row is written for an execution, its credentials are resolved by an
 * object of its own, and its id is ours, so that whatever asks with it is known.
 */

const path = require('node:path');

const { list } = require('./schemas');

/** @typedef {import('./workflows').Node} Node */
/** @typedef {import('./workflows').Workflow} Workflow */
/** @typedef {{items: any[], lastNode: string | null, error: any, waiting: boolean}} Ended */
/** @typedef {{id: string, credentials: Record<string, unknown>, onNode: (name: string, run: any) => Promise<void>,
 *   signal: AbortSignal}} Options */

/** @param {string} app Folder of n8n's package. */
function load(app) {
	const from = (/** @type {string} */ name) => require(require.resolve(name, { paths: [app] }));
	const { Container } = from('@n8n/di');
	const { NodeTypes } = require(path.join(app, 'dist/node-types'));
	const additional = require(path.join(app, 'dist/workflow-execute-additional-data'));
	const core = from('n8n-core');
	const { createRunExecutionData, Workflow: N8nWorkflow } = from('n8n-workflow');
	const nodeTypes = Container.get(NodeTypes);

	return {
		/** @type {string} */
		version: require(path.join(app, 'package.json')).version,

		/** @param {string} type @param {number} version @returns {boolean} Whether such a node is installed. */
		known(type, version) {
			try {
				return nodeTypes.getByNameAndVersion(type, version) !== undefined;
			} catch {
				return false;
			}
		},

		/** @param {Node} node @returns {boolean} Whether a workflow may begin with it. */
		isTrigger({ type, typeVersion }) {
			const { description } = nodeTypes.getByNameAndVersion(type, typeVersion);
			return list(description.group).includes('trigger');
		},

		/**
		 * Run a workflow from one of its nodes.
		 *
		 * @param {Workflow} data @param {Node} start @param {Record<string, unknown>[]} items What `start` is given.
		 * @param {Options} options
		 * @returns {Promise<Ended>}
		 */
		async run(data, start, items, { id, credentials, onNode, signal }) {
			const workflow = new N8nWorkflow({ ...data, id, active: false, nodeTypes, staticData: {} });
			const base = await additional.getBase({ workflowSettings: data.settings });
			const hooks = new core.ExecutionLifecycleHooks('trigger', id, { ...data, id });
			hooks.addHandler('nodeExecuteAfter', onNode);
			let answer = null;
			hooks.addHandler('sendResponse', (/** @type {any} */ response) => {
				answer = response;
			});
			const own = { credentialsHelper: resolvedTo(base.credentialsHelper, credentials), executionId: id, hooks };
			const execution = new core.WorkflowExecute(
				Object.assign(base, own, { setExecutionStatus: () => {} }),
				'trigger',
				createRunExecutionData({
					executionData: {
						contextData: {},
						metadata: {},
						waitingExecution: {},
						waitingExecutionSource: {},
						nodeExecutionStack: [
							{ node: workflow.getNode(start.name), data: { main: [items.map((json) => ({ json }))] }, source: null },
						],
					},
				}),
			);
			const running = execution.processRunExecutionData(workflow);
			const cancel = () => running.cancel();
			signal.addEventListener('abort', cancel);
			try {
				return ended(await running, answer);
			} finally {
				signal.removeEventListener('abort', cancel);
			}
		},
	};
}

/** @param {any} run What n8n made of an execution. @param {any} answer Of a node that responds. @returns {Ended} */
function ended(run, answer) {
	const { runData, error, lastNodeExecuted = null } = run.data.resultData;
	const last = lastNodeExecuted === null ? undefined : runData[lastNodeExecuted]?.at(-1);
	const items = list(list(last?.data?.main).find((output) => list(output).length)).map((item) => item.json);
	return {
		items: answer === null ? items : [answer.body ?? answer],
		lastNode: lastNodeExecuted,
		error: error ?? null,
		waiting: Boolean(run.waitTill),
	};
}

/** @param {any} helper n8n's own. @param {object} credentials @returns {any} A helper that knows these and no secret. */
function resolvedTo(helper, credentials) {
	return Object.assign(Object.create(helper), { getDecrypted: async () => credentials });
}

module.exports = { load };
