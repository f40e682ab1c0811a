'use strict';
/**
 * JSON-RPC 2.0, one message a line, both ways over one socket: what `orchestrator_runtimes.connection` is in Python.
 *
 * A malformed line gets an error answer and the connection goes on; one that is too long ends it. A peer that does not
 * read holds the writer back, and one that sends more than can be handled is not read.
 */

const { AgentError, CODES, Refused, words } = require('./errors');
const { isObject } = require('./schemas');

const MESSAGE_BYTES = 16 * 1024 * 1024;
const PARSE_ERROR = -32700;
const INVALID_REQUEST = -32600;
const METHOD_NOT_FOUND = -32601;
const INVALID_PARAMS = -32602;
const AGENT_ERROR = -32000;
const BUSY = -32001;
const BAD_LINES = 100;
const ID_CHARACTERS = 128;

/** @typedef {(params: any) => Promise<unknown>} Handler */

/** One peer of a contract connection; `closed` is true when nothing can be sent any more. */
class Connection {
	/**
	 * @param {import('node:net').Socket} socket
	 * @param {{handlers: Record<string, Handler>, notified?: (method: string, params: any) => Promise<void>,
	 *   requests: number}} options `requests` of the peer are handled at once; one more is refused as busy.
	 */
	constructor(socket, { handlers, notified = async () => {}, requests }) {
		this.closed = false;
		this.peerMessageBytes = MESSAGE_BYTES;
		this.ended = new AbortController();
		this._socket = socket;
		this._handlers = handlers;
		this._notified = notified;
		this._requests = requests;
		/** @type {Set<string | number>} */
		this._running = new Set();
		/** @type {Map<number, {resolve: (value: any) => void, reject: (error: Error) => void}>} */
		this._waiting = new Map();
		this._nextId = 1;
		this._badLines = 0;
		socket.on('error', () => {}); // told to everyone who waits, when it closes
		socket.on('close', () => this._end('the connection ended'));
	}

	/** Read until the stream ends or breaks. */
	async serve() {
		/** @type {Buffer[]} */
		let pending = [];
		let size = 0;
		try {
			for await (const data of this._socket) {
				let rest = /** @type {Buffer} */ (data);
				for (let at = rest.indexOf(10); at >= 0; at = rest.indexOf(10)) {
					const line = Buffer.concat([...pending, rest.subarray(0, at)]);
					[pending, size, rest] = [[], 0, rest.subarray(at + 1)];
					if (line.length >= MESSAGE_BYTES) return await this._tooLong();
					await this._take(line);
					if (this.closed) return;
				}
				pending.push(rest);
				size += rest.length;
				if (size >= MESSAGE_BYTES) return await this._tooLong();
			}
		} catch (error) {
			if (!this.closed) this._end(words(error));
		} finally {
			this.close();
		}
	}

	/**
	 * Send a request and return its answer.
	 *
	 * @param {string} method
	 * @param {object} params
	 * @returns {Promise<any>} Rejected with an `AgentError` when the peer refuses or the connection ends first.
	 */
	async call(method, params) {
		const id = this._nextId++;
		const answer = new Promise((resolve, reject) => this._waiting.set(id, { resolve, reject }));
		answer.catch(() => {}); // it may fail while the request is still being written
		try {
			await this._write({ id, method, params });
			return await answer;
		} finally {
			this._waiting.delete(id);
		}
	}

	/** @param {string} method @param {object} params @returns {Promise<void>} When the stream has taken it. */
	async notify(method, params) {
		await this._write({ method, params });
	}

	/** Close the stream; idempotent. */
	close() {
		this._end('the connection was closed');
		this._socket.end();
		this._socket.destroySoon();
	}

	/** @param {string} why */
	_end(why) {
		if (this.closed) return;
		this.closed = true;
		const error = new AgentError('runtime_crashed', `the connection is gone: ${why}`);
		for (const { reject } of this._waiting.values()) reject(error);
		this.ended.abort(error);
	}

	/** @param {object} message */
	async _write(message) {
		if (this.closed) throw new AgentError('runtime_crashed', 'the connection is gone');
		if (this._socket.write(lineOf(message))) return;
		await new Promise((resolve) => {
			const done = () => {
				this._socket.off('drain', done);
				this._socket.off('close', done);
				resolve(undefined);
			};
			this._socket.on('drain', done);
			this._socket.on('close', done);
		});
	}

	/** @param {Buffer} line */
	async _take(line) {
		let message;
		try {
			message = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(line));
		} catch (error) {
			return await this._malformed(null, PARSE_ERROR, `not JSON: ${words(error)}`);
		}
		if (!isObject(message) || message.jsonrpc !== '2.0') {
			return await this._malformed(null, INVALID_REQUEST, 'expected one object with "jsonrpc": "2.0"');
		}
		if (!('method' in message)) return await this._takeAnswer(message);
		if (typeof message.method !== 'string') {
			return await this._malformed(idOf(message), INVALID_REQUEST, 'method must be a string');
		}
		if (!('id' in message)) return await this._notified(message.method, message.params);
		return await this._takeRequest(message.method, message);
	}

	/** @param {Record<string, any>} message */
	async _takeAnswer(message) {
		const waiting = this._waiting.get(message.id);
		if (waiting === undefined) {
			// an error answer with no id reports a malformed line; never answer one
			if (!('error' in message)) await this._malformed(idOf(message), INVALID_REQUEST, 'an answer to no request');
		} else if ('result' in message && !('error' in message)) {
			waiting.resolve(message.result);
		} else {
			waiting.reject(failureOf(message.error));
		}
	}

	/** @param {string} method @param {Record<string, any>} message */
	async _takeRequest(method, message) {
		const id = idOf(message);
		if (id === null) {
			const what = 'id must be a whole number or a string of 1 to 128 characters';
			await this._malformed(null, INVALID_REQUEST, what);
		} else if (!Object.hasOwn(this._handlers, method)) {
			await this._refuse(id, METHOD_NOT_FOUND, `unknown method '${method.slice(0, 100)}'`);
		} else if (this._running.has(id)) {
			await this._malformed(id, INVALID_REQUEST, `a request with id ${id} is still running`);
		} else if (this._running.size >= this._requests) {
			await this._refuse(id, BUSY, `${this._requests} requests are running already; send it again later`);
		} else {
			this._running.add(id);
			this._answer(id, method, message.params).finally(() => this._running.delete(id));
		}
	}

	/** @param {string | number} id @param {string} method @param {any} params */
	async _answer(id, method, params) {
		let message;
		try {
			message = { id, result: await this._handlers[method](params) };
			const size = lineOf(message).length;
			if (size > this.peerMessageBytes) {
				const limit = this.peerMessageBytes;
				const what = `the answer to '${method}' is ${size} bytes long, above the limit of ${limit}`;
				throw new AgentError('limit_exceeded', what);
			}
		} catch (error) {
			message = { id, error: errorOf(error, method) };
		}
		await this._write(message).catch(() => {});
	}

	async _tooLong() {
		await this._refuse(null, INVALID_REQUEST, `a message is longer than ${MESSAGE_BYTES} bytes`);
	}

	/** @param {string | number | null} id @param {number} code @param {string} why */
	async _malformed(id, code, why) {
		await this._refuse(id, code, why);
		if (++this._badLines >= BAD_LINES) this.close();
	}

	/** @param {string | number | null} id @param {number} code @param {string} why */
	async _refuse(id, code, why) {
		await this._write({ id, error: { code, message: why.slice(0, 1000) } }).catch(() => {});
	}
}

/** @param {object} message @returns {Buffer} */
function lineOf(message) {
	return Buffer.from(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
}

/** @param {Record<string, any>} message @returns {string | number | null} */
function idOf({ id }) {
	if (Number.isSafeInteger(id)) return id;
	return typeof id === 'string' && id.length > 0 && id.length <= ID_CHARACTERS ? id : null;
}

/** @param {any} error @param {string} method @returns {object} `error` of an answer. */
function errorOf(error, method) {
	if (error instanceof Refused) return { code: error.code, message: error.message };
	const told =
		error instanceof AgentError
			? error
			: new AgentError('framework_error', `'${method}' failed unexpectedly`, { cause: words(error) });
	const { code, retryable, cause, detail } = told;
	const data = { code, retryable, detail, ...(cause && { cause }), ...('usage' in told && { usage: told.usage }) };
	return { code: AGENT_ERROR, message: told.message, data };
}

/** @param {any} error `error` of an answer, whatever its shape. @returns {AgentError} */
function failureOf(error) {
	const { code, cause, detail } = isObject(error?.data) ? error.data : {};
	const message = typeof error?.message === 'string' ? error.message.slice(0, 2000) : 'the peer answered with an error';
	return new AgentError(CODES.has(code) ? code : 'runtime_crashed', message, {
		cause: typeof cause === 'string' ? cause : undefined,
		detail: isObject(detail) ? detail : {},
	});
}

module.exports = { BUSY, Connection, INVALID_PARAMS, INVALID_REQUEST, MESSAGE_BYTES };
