'use strict';
/** The messages of one session, by the keys that memory nodes give them, between the session's state and LangChain. */

const { langchain } = require('./langchain');

const MESSAGES = 200;

class Memories {
	/** @param {Record<string, object[]>} stored From `stored`. */
	constructor(stored) {
		this._stored = stored;
		/** @type {Map<string, any>} */
		this._histories = new Map();
	}

	/** @param {string} key @returns {any} LangChain's chat history, the same for every node with this key. */
	of(key) {
		const { InMemoryChatMessageHistory } = langchain('@langchain/core/chat_history');
		const { mapStoredMessagesToChatMessages } = langchain('@langchain/core/messages');
		const messages = mapStoredMessagesToChatMessages(Object.hasOwn(this._stored, key) ? this._stored[key] : []);
		const history = this._histories.get(key) ?? new InMemoryChatMessageHistory(messages);
		this._histories.set(key, history);
		return history;
	}

	/** @returns {Promise<Record<string, object[]>>} All messages as JSON, the last ones of each key. */
	async stored() {
		if (this._histories.size === 0) return this._stored; // LangChain is not loaded for nothing
		const { mapChatMessagesToStoredMessages } = langchain('@langchain/core/messages');
		const entries = [...this._histories].map(async ([key, history]) => {
			const messages = await history.getMessages();
			return /** @type {const} */ ([key, mapChatMessagesToStoredMessages(messages.slice(-MESSAGES))]);
		});
		return { ...this._stored, ...Object.fromEntries(await Promise.all(entries)) };
	}
}

module.exports = { Memories };
