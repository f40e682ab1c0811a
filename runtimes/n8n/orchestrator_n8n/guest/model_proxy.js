'use strict';
/**
 * Every model call of a workflow passes here: counted, limited, sent to its execution's endpoint, and judged.
 *
 * n8n's model nodes are given an address of this server that names their execution, so attribution needs no guess. A
 * fault is told to the node with `x-should-retry: false`, since the trusted side alone retries.
 */

const http = require('node:http');
const { randomBytes } = require('node:crypto');

const { AgentError, words } = require('./errors');
const { AnswerStream, ENDPOINTS, readAnswer, statusFault } = require('./model_answers');
const { isObject } = require('./schemas');

const EXECUTION_HEADER = 'x-orchestrator-execution';
const BODY_BYTES = 64 * 1024 * 1024;
const DROPPED_HEADERS = ['host', 'content-length', 'authorization', 'transfer-encoding', 'connection', 'expect'];

/** @typedef {import('./execution').Execution} Execution */
/** @typedef {{execution: Execution, extra: Record<string, unknown>}} Caller */

/** A server on loopback that only nodes of running executions have addresses of. */
class ModelProxy {
	constructor() {
		/** @type {Map<string, Caller>} */
		this._callers = new Map();
		this._server = http.createServer((request, response) => {
			this._serve(request, response).catch((error) => response.destroy(error));
		});
		this._server.requestTimeout = 0;
		this._server.keepAliveTimeout = 60_000;
	}

	/** @param {number} port Of loopback. @returns {Promise<void>} When it listens. */
	async listen(port) {
		await new Promise((resolve) => this._server.listen(port, '127.0.0.1', () => resolve(undefined)));
		this._server.unref();
	}

	/**
	 * Open an address for an execution.
	 *
	 * @param {Execution} execution
	 * @param {Record<string, unknown>} extra Added to the body of each chat completion.
	 * @returns {{url: string, close: () => void}} `url` is a base URL up to and with `/v1`.
	 */
	open(execution, extra) {
		const token = randomBytes(16).toString('hex');
		this._callers.set(token, { execution, extra });
		const { port } = /** @type {import('node:net').AddressInfo} */ (this._server.address());
		return { url: `http://127.0.0.1:${port}/${token}/v1`, close: () => this._callers.delete(token) };
	}

	/** @param {http.IncomingMessage} request @param {http.ServerResponse} response */
	async _serve(request, response) {
		const [, token, path] = /^\/([0-9a-f]+)\/v1(\/[^?]*)/.exec(request.url ?? '') ?? [];
		const caller = this._callers.get(token);
		const endpoint = ENDPOINTS.find((known) => known === path);
		if (caller === undefined || endpoint === undefined || request.method !== 'POST') {
			request.resume();
			refuse(response, 404, 'there is no such address: a model call outside of any execution is refused');
			return;
		}
		const body = await read(request);
		if (body === null) {
			refuse(response, 413, `the request is longer than ${BODY_BYTES} bytes`);
			return;
		}
		await new ModelCall(caller, endpoint, request, response).make(body);
	}
}

/** One model call on its way. */
class ModelCall {
	/** @param {Caller} caller @param {string} endpoint @param {http.IncomingMessage} request @param {http.ServerResponse} response */
	constructor({ execution, extra }, endpoint, request, response) {
		this._execution = execution;
		this._extra = extra;
		this._endpoint = endpoint;
		this._request = request;
		this._response = response;
		this._model = '';
		this._wantsStream = false;
		this._streams = false;
		this._wantsUsage = false;
	}

	/** @param {Buffer} content Of the request. */
	async make(content) {
		const execution = this._execution;
		let began;
		try {
			if (execution.run.model == null) {
				throw new AgentError('model_rejected', 'this execution was given no model endpoint');
			}
			began = execution.beginModelCall();
		} catch (error) {
			refuse(this._response, 400, words(error));
			return;
		}
		const started = performance.now();
		/** @type {import('./model_answers').Judgement} */
		let judged = { usage: null, error: null };
		try {
			judged = await this._exchange(content);
		} catch (error) {
			judged.error = this._faultOf(error);
		}
		const seconds = (performance.now() - started) / 1000;
		await execution.endModelCall(began, { model: this._model, seconds, ...judged });
		this._answer(judged.error);
	}

	/** @param {Buffer} content @returns {Promise<import('./model_answers').Judgement>} */
	async _exchange(content) {
		const { model, traceparent, execution: name } = this._execution.run;
		/** @type {Record<string, string>} */
		const headers = {};
		for (const [key, value] of Object.entries(this._request.headers)) {
			if (typeof value === 'string' && !DROPPED_HEADERS.includes(key)) headers[key] = value;
		}
		headers['accept-encoding'] = 'identity';
		headers[EXECUTION_HEADER] = name;
		if (model.api_key != null) headers.authorization = `Bearer ${model.api_key}`;
		if (traceparent != null) headers.traceparent = traceparent;
		const answer = await fetch(model.base_url.replace(/\/+$/, '') + this._endpoint, {
			method: 'POST',
			headers,
			body: this._rewritten(content),
			signal: this._execution.stopping.signal,
			redirect: 'error',
		});
		if (answer.status >= 400 || !this._streams) {
			this._whole = Buffer.from(await answer.arrayBuffer());
			if (answer.status >= 400) return { usage: null, error: statusFault(answer.status, this._whole) };
			return readAnswer(this._whole);
		}
		return await this._passStream(answer);
	}

	/** @param {Response} answer @returns {Promise<import('./model_answers').Judgement>} */
	async _passStream(answer) {
		const stream = new AnswerStream();
		const parts = /** @type {AsyncIterable<Uint8Array>} */ (answer.body ?? []);
		if (this._wantsStream) this._response.writeHead(200, { 'content-type': 'text/event-stream' });
		for await (const part of parts) {
			this._execution.check();
			for (const { event, token } of stream.feed(part)) {
				if (token && this._execution.run.stream) await this._execution.emit({ kind: 'token', text: token });
				if (this._wantsStream) await this._send(`${event}\n\n`);
			}
		}
		const error = stream.finish();
		if (!this._wantsStream && error === null) this._whole = Buffer.from(JSON.stringify(stream.whole()));
		return { usage: stream.usage, error };
	}

	/** @param {string} event */
	async _send(event) {
		if (!this._wantsUsage && /"choices":\s*\[\]/.test(event) && event.includes('"usage"')) return;
		if (this._response.write(event)) return;
		await new Promise((resolve) => {
			this._response.once('drain', resolve);
			this._response.once('close', resolve);
		});
	}

	/**
	 * Note what is asked. A stream is asked for where tokens are to be told, also for a node that waits for the whole
	 * answer, and the usage of a stream always.
	 *
	 * @param {Buffer} content @returns {Buffer | string}
	 */
	_rewritten(content) {
		let body;
		try {
			body = JSON.parse(content.toString());
		} catch {
			return content; // the endpoint will say what is wrong with it
		}
		if (!isObject(body)) return content;
		this._model = String(body.model ?? '');
		this._wantsStream = body.stream === true;
		const completion = this._endpoint === '/chat/completions';
		if (!completion && this._endpoint !== '/responses') return content;
		this._streams = this._wantsStream || this._execution.run.stream === true;
		this._wantsUsage = body.stream_options?.include_usage === true;
		const options = { ...body.stream_options, include_usage: true };
		return JSON.stringify({
			...body,
			...(completion && this._extra),
			...(this._streams && { stream: true, ...(completion && { stream_options: options }) }),
		});
	}

	/** @param {any} error Of `fetch`. @returns {AgentError} */
	_faultOf(error) {
		if (this._execution.stopped !== null) return this._execution.stopped;
		const why = error?.cause ?? error;
		const code = String(why?.code ?? '');
		if (code.includes('TIMEOUT')) {
			return new AgentError('timeout', 'the model endpoint did not answer in time', { cause: words(why) });
		}
		return new AgentError('model_unavailable', 'the model endpoint cannot be reached', {
			cause: `${code} ${words(why)}`.trim(),
		});
	}

	/** @param {AgentError | null} error Ends the node's request. */
	_answer(error) {
		const response = this._response;
		if (response.headersSent) {
			if (error === null) response.end();
			else response.destroy();
		} else if (error === null) {
			response.writeHead(200, { 'content-type': 'application/json' }).end(this._whole);
		} else {
			refuse(response, Number(error.detail.status ?? 422), error.message);
		}
	}
}

/** @param {http.ServerResponse} response @param {number} status @param {string} message */
function refuse(response, status, message) {
	const headers = { 'content-type': 'application/json', 'x-should-retry': 'false' };
	response.writeHead(status, headers).end(JSON.stringify({ error: { message, type: 'orchestrator' } }));
}

/** @param {http.IncomingMessage} request @returns {Promise<Buffer | null>} Its body; null when it is too long. */
async function read(request) {
	/** @type {Buffer[]} */
	const parts = [];
	let size = 0;
	for await (const part of request) {
		size += part.length;
		if (size <= BODY_BYTES) parts.push(part);
	}
	return size <= BODY_BYTES ? Buffer.concat(parts) : null;
}

module.exports = { ModelProxy };
