'use strict';
/** Gives a portable agent the earlier turns of its session; the runtime itself keeps them. */

const { get } = require('../guest/running');
const { langchain } = require('../guest/langchain');

class OrchestratorMemory {
	constructor() {
		this.description = {
			displayName: 'Session of a portable agent',
			name: 'orchestratorMemory',
			group: ['transform'],
			version: 1,
			description: 'Used by the orchestrator',
			defaults: { name: 'Memory' },
			inputs: [],
			outputs: ['ai_memory'],
			outputNames: ['Memory'],
			properties: [],
		};
	}

	/** @this {any} */
	async supplyData() {
		const { AIMessage, HumanMessage } = langchain('@langchain/core/messages');
		const { history } = get(this.getExecutionId());
		const messages = history.map(({ role, text }) => (role === 'user' ? new HumanMessage(text) : new AIMessage(text)));
		return {
			response: {
				memoryKeys: ['chat_history'],
				inputKey: 'input',
				outputKey: 'output',
				returnMessages: true,
				loadMemoryVariables: async () => ({ chat_history: messages }),
				saveContext: async () => {},
				chatHistory: { getMessages: async () => messages, addMessage: async () => {}, clear: async () => {} },
			},
		};
	}
}

module.exports = { OrchestratorMemory };
