'use strict';
/**
 * Everything that reaches inside n8n. Checked against n8n 2.40.7; the conformance suite fails when a seam moves.
 *
 * A workflow runs by `WorkflowExecute` itself: no row is written for an execution, its credentials are resolved by an
 * object of its own, and its id is ours, so that whatever asks with it is known.
 */

const path = require('node:path');

const { JournaledNodes } = require('./journaled_nodes');
const { list } = require('./schemas');

/** @typedef {import('./workflows').Node} Node */
/** @typedef {import('./workflows').Workflow} Workflow */
/** @typedef {{node: string, till: Date | null, state: string}} Waiting `till` is null when only a decision ends it. */
/** @typedef {{items: any[], lastNode: string | null, error: any, waiting: Waiting | null}} Ended */
/** @typedef {{id: string, credentials: Record<string, unknown>, onNode: (name: string, run: any) => Promise<void>,
 *   subWorkflow: (id: string) => Workflow, signal: AbortSignal,
 *   journal: import('./journaled_nodes').Journal | null}} Options `subWorkflow` throws when there is none. */

/** @param {string} app Folder of n8n's package. */
function load(app) {
	const from = (/** @type {string} */ name) => require(require.resolve(name, { paths: [app] }));
	const { Container } = from('@n8n/di');
	const { NodeTypes } = require(path.join(app, 'dist/node-types'));
	const additional = require(path.join(app, 'dist/workflow-execute-additional-data'));
	const { findSubworkflowStart } = require(path.join(app, 'dist/utils'));
	const { getLastExecutedNodeRuns } = require(path.join(app, 'dist/workflow-helpers'));
	const core = from('n8n-core');
	const n8nWorkflow = from('n8n-workflow');
	const { createRunExecutionData, mergeRunsPerBranch, WAIT_INDEFINITELY, Workflow: N8nWorkflow } = n8nWorkflow;
	const { parse, stringify } = from('flatted');
	const nodeTypes = Container.get(NodeTypes);

	/** @param {string} id Of an execution. @returns {import('./journaled_nodes').Binaries} */
	function binaries(id) {
		const service = Container.get(core.BinaryDataService);
		return {
			read: (binary) => service.getAsBuffer(binary),
			store: (bytes, binary) => service.store({ type: 'execution', workflowId: id, executionId: id }, bytes, binary),
		};
	}

	/** @param {Node} node @param {object[]} items As n8n has them. @returns {any} The state of an execution that begins. */
	function begun(node, items) {
		const nodeExecutionStack = [{ node, data: { main: [items] }, source: null }];
		return createRunExecutionData({ executionData: { nodeExecutionStack } });
	}

	/**
	 * Run a workflow until it ends or waits.
	 *
	 * @param {Workflow} data @param {any} state @param {Options} options
	 * @returns {Promise<{run: any, answer: any}>} What n8n made of it, and of a node that responds.
	 */
	async function execute(data, state, options) {
		const { id, credentials, onNode, subWorkflow, signal, journal } = options;
		const nodes = journal && new JournaledNodes(journal, binaries(id), n8nWorkflow.isNodeClassInstance);
		const types = nodes?.types(nodeTypes) ?? nodeTypes;
		const workflow = new N8nWorkflow({ ...data, id, active: false, nodeTypes: types, staticData: {} });
		const base = await additional.getBase({ workflowSettings: data.settings });
		const hooks = new core.ExecutionLifecycleHooks('trigger', id, { ...data, id });
		hooks.addHandler('nodeExecuteAfter', onNode);
		/** @type {Map<string, any>} What sub-workflows made, for items that are traced back through them. */
		const called = new Map();
		let answer = null;
		hooks.addHandler('sendResponse', (/** @type {any} */ response) => {
			answer = response;
		});
		const own = {
			credentialsHelper: resolvedTo(base.credentialsHelper, credentials),
			executionId: id,
			hooks,
			setExecutionStatus: () => {},
			/** @param {any} info @param {any} _from @param {any} call */
			executeWorkflow: async (info, _from, call) => {
				const sub = info.code ?? subWorkflow(String(info.id));
				const start = begun(findSubworkflowStart(sub.nodes), call.inputData ?? [{ json: {} }]);
				const { run } = await execute(sub, start, options);
				const { error } = run.data.resultData;
				if (error) throw error;
				if (run.waitTill) throw new Error(`the sub-workflow '${sub.name}' waits, which only the workflow itself may`);
				const executionId = `${id}-${called.size}`;
				called.set(executionId, run.data);
				return { executionId, data: mergeRunsPerBranch(getLastExecutedNodeRuns(run)) };
			},
			getRunExecutionData: async (/** @type {string} */ executionId) => called.get(executionId),
		};
		const running = new core.WorkflowExecute(Object.assign(base, own), 'trigger', state).processRunExecutionData(workflow);
		const cancel = () => running.cancel();
		signal.addEventListener('abort', cancel);
		try {
			return { run: await running, answer };
		} finally {
			signal.removeEventListener('abort', cancel);
		}
	}

	/** @param {{run: any, answer: any}} made @returns {Ended} */
	function ended({ run, answer }) {
		const { runData, error, lastNodeExecuted = null } = run.data.resultData;
		const last = lastNodeExecuted === null ? undefined : runData[lastNodeExecuted]?.at(-1);
		const items = list(list(last?.data?.main).find((output) => list(output).length)).map((item) => item.json);
		const till = run.waitTill?.getTime() === WAIT_INDEFINITELY.getTime() ? null : run.waitTill;
		return {
			items: answer === null ? items : [answer.body ?? answer],
			lastNode: lastNodeExecuted,
			error: error ?? null,
			waiting: run.waitTill ? { node: lastNodeExecuted, till, state: stringify(run.data) } : null,
		};
	}

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
		async run(data, start, items, options) {
			const state = begun(start, items.map((json) => ({ json })));
			return ended(await execute(data, state, options));
		},

		/**
		 * Go on with a workflow that waits.
		 *
		 * @param {Workflow} data @param {string} state From `Waiting`.
		 * @param {Record<string, unknown>[] | null} items What the waiting node yields; null for what it was given.
		 * @param {Options} options
		 * @returns {Promise<Ended>}
		 */
		async resume(data, state, items, options) {
			const restored = parse(state);
			const [waiting] = restored.executionData.nodeExecutionStack;
			if (items !== null) waiting.data.main = [items.map((json) => ({ json }))];
			return ended(await execute(data, restored, options));
		},
	};
}

/** @param {any} helper n8n's own. @param {object} credentials @returns {any} A helper that knows these and no secret. */
function resolvedTo(helper, credentials) {
	return Object.assign(Object.create(helper), { getDecrypted: async () => credentials });
}

module.exports = { load };
