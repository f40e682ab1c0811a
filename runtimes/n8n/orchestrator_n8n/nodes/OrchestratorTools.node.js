'use strict';
/** Offers the tools of a portable agent to its AI Agent node. */

const { get } = require('../guest/running');
const { langchain } = require('../guest/langchain');

class OrchestratorTools {
	constructor() {
		this.description = {
			displayName: 'Tools of a portable agent',
			name: 'orchestratorTools',
			group: ['transform'],
			version: 1,
			description: 'Used by the orchestrator',
			defaults: { name: 'Tools' },
			inputs: [],
			outputs: ['ai_tool'],
			outputNames: ['Tools'],
			properties: [],
		};
	}

	/** @this {any} */
	async supplyData() {
		const { DynamicStructuredTool } = langchain('@langchain/core/tools');
		const { tools, call } = get(this.getExecutionId());
		return {
			response: tools.map(({ name, description, parameters }) => {
				const tool = new DynamicStructuredTool({ name, description, schema: parameters, func: async () => '' });
				// LangChain would raise where arguments do not match; the tool itself tells the model
				tool.invoke = async (/** @type {any} */ input) => call(name, input?.type === 'tool_call' ? input.args : input);
				return tool;
			}),
		};
	}
}

module.exports = { OrchestratorTools };
