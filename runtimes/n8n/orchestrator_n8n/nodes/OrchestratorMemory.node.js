'use strict';
/** Gives an agent the earlier turns of its execution's session, and keeps the next ones. */

const { get } = require('../guest/running');
const { langchain } = require('../guest/langchain');

class OrchestratorMemory {
	constructor() {
		this.description = {
			displayName: 'Memory of a session',
			name: 'orchestratorMemory',
			group: ['transform'],
			version: 1,
			description: 'Used by the orchestrator',
			defaults: { name: 'Memory' },
			inputs: [],
			outputs: ['ai_memory'],
			outputNames: ['Memory'],
			properties: [
				{ displayName: 'Session Key', name: 'sessionKey', type: 'string', default: '' },
				{ displayName: 'Context Window Length', name: 'contextWindowLength', type: 'number', default: 100 },
			],
		};
	}

	/** @this {any} @param {number} item */
	async supplyData(item) {
		const { BufferWindowMemory } = langchain('@langchain/classic/memory');
		const { memories } = get(this.getExecutionId());
		return {
			response: new BufferWindowMemory({
				chatHistory: memories.of(String(this.getNodeParameter('sessionKey', item, ''))),
				k: this.getNodeParameter('contextWindowLength', item),
				memoryKey: 'chat_history',
				inputKey: 'input',
				outputKey: 'output',
				returnMessages: true,
			}),
		};
	}
}

module.exports = { OrchestratorMemory };
