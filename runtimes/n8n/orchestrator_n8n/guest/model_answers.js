'use strict';
/**
 * Reading what a model endpoint answered: is it usable, and what did it cost? The same judgement as that of
 * `orchestrator_runtimes.model_answers`, which the conformance suite holds both to.
 */

const { AgentError } = require('./errors');
const { isObject, list } = require('./schemas');

const ENDPOINTS = ['/chat/completions', '/responses', '/embeddings', '/completions'];
const SHOWN = 300;
const FACTS = 10;
const BUDGET_EXCEEDED = 'budget_exceeded';

/** @typedef {{usage: Record<string, number> | null, error: AgentError | null}} Judgement */

/** @param {string} why @param {string} [cause] @returns {AgentError} */
function badOutput(why, cause) {
	return new AgentError('model_bad_output', `the model endpoint's answer is unusable: ${why}`, { cause });
}

/** @param {number} status @param {Buffer} body @returns {AgentError} The error of an answer with 400 or more. */
function statusFault(status, body) {
	const refused = errorOf(body);
	if (refused.type === BUDGET_EXCEEDED) {
		return new AgentError(BUDGET_EXCEEDED, said(body), { detail: { ...facts(refused.budget), status } });
	}
	let code = 'model_rejected';
	if (status === 429) code = 'model_rate_limited';
	else if (status >= 500 || [408, 409, 425].includes(status)) code = 'model_unavailable';
	return new AgentError(code, `the model endpoint answered ${status}`, { cause: said(body), detail: { status } });
}

/** @param {Buffer} body @returns {Record<string, any>} What an endpoint says of an error; empty where it says nothing. */
function errorOf(body) {
	try {
		const error = JSON.parse(body.toString())?.error;
		return isObject(error) ? error : {};
	} catch {
		return {};
	}
}

/** @param {unknown} told Of a budget. @returns {Record<string, string | number>} Short facts only, whatever was sent. */
function facts(told) {
	const found = Object.entries(isObject(told) ? told : {}).filter(([, fact]) => /^(number|string)$/.test(typeof fact));
	return Object.fromEntries(
		found.slice(0, FACTS).map(([name, fact]) => [
			name.slice(0, SHOWN),
			typeof fact === 'string' ? fact.slice(0, SHOWN) : /** @type {number} */ (fact),
		]),
	);
}

/** @param {Buffer} body @returns {string} */
function said(body) {
	const text = body.toString();
	try {
		const value = JSON.parse(text);
		const error = value?.error ?? value;
		return String(error?.message ?? JSON.stringify(error)).slice(0, SHOWN);
	} catch {
		return text.slice(0, SHOWN);
	}
}

/** @param {Buffer} body Of a plain answer with status 200. @returns {Judgement} */
function readAnswer(body) {
	let answer;
	try {
		answer = JSON.parse(body.toString());
	} catch (error) {
		const cause = `${error}: ${body.toString().slice(0, SHOWN)}`;
		return { usage: null, error: badOutput('not JSON', cause) };
	}
	if (!isObject(answer)) return { usage: null, error: badOutput('not a JSON object') };
	return { usage: readUsage(answer.usage), error: faultOf(answer) };
}

/** @param {unknown} value Any JSON. @returns {boolean} Whether there is something in it: empty lists and objects are nothing. */
function holds(value) {
	return isObject(value) || Array.isArray(value) ? Object.keys(value).length > 0 : Boolean(value);
}

/** @param {Record<string, any>} answer @returns {AgentError | null} */
function faultOf(answer) {
	if (holds(answer.error)) return badOutput('an error with status 200', JSON.stringify(answer.error).slice(0, SHOWN));
	if ('choices' in answer) {
		const choices = list(answer.choices);
		if (!choices.length) return badOutput('no choices');
		return choices.map((choice) => messageFault(choice?.message ?? choice)).find((fault) => fault !== null) ?? null;
	}
	if ('output' in answer) return itemsFault(list(answer.output));
	return list(answer.data).length ? null : badOutput('neither choices nor output nor data');
}

/** @param {any} message Of a chat completion, or a choice of a completion. @returns {AgentError | null} */
function messageFault(message) {
	const calls = list(message?.tool_calls).map((call) => call?.function);
	if (holds(message?.function_call)) calls.push(message.function_call);
	const fault = calls.map((call) => argumentsFault(call?.name, call?.arguments)).find((found) => found !== null);
	if (fault) return fault;
	const told = [message?.content, message?.refusal, message?.text, message?.audio].some(holds);
	return told || calls.length ? null : badOutput('empty content and no tool call');
}

/** @param {any[]} items `output` of the responses dialect. @returns {AgentError | null} */
function itemsFault(items) {
	const calls = items.filter((item) => item?.type === 'function_call');
	const fault = calls.map((call) => argumentsFault(call.name, call.arguments)).find((found) => found !== null);
	if (fault) return fault;
	const told = calls.length || items.some((item) => list(item?.content).some((part) => holds(part?.text)));
	return told ? null : badOutput('empty content and no tool call');
}

/** @param {unknown} value @returns {string} It, when it is text; anything else could not be shown without harm. */
function textOf(value) {
	return typeof value === 'string' ? value : '';
}

/** @param {unknown} name @param {unknown} text Must be that of a JSON object, or empty. @returns {AgentError | null} */
function argumentsFault(name, text) {
	if (typeof text !== 'string' || !text.trim()) return null;
	const which = `the arguments of the tool call '${textOf(name).slice(0, 80)}'`;
	try {
		return isObject(JSON.parse(text)) ? null : badOutput(`${which} are no object`);
	} catch (error) {
		return badOutput(`${which} are not JSON`, `${error}: ${text.slice(0, SHOWN)}`);
	}
}

/** @param {any} usage Of either dialect. @returns {Record<string, number> | null} Null when it holds no counts. */
function readUsage(usage) {
	if (!isObject(usage)) return null;
	const details = usage.prompt_tokens_details ?? usage.input_tokens_details;
	const counts = {
		input_tokens: usage.prompt_tokens ?? usage.input_tokens,
		output_tokens: usage.completion_tokens ?? usage.output_tokens ?? 0,
		cached_tokens: details?.cached_tokens ?? 0,
	};
	return Object.values(counts).every((count) => Number.isSafeInteger(count) && count >= 0) ? counts : null;
}

/** @returns {{finish: string | null, message: Record<string, any>, calls: Map<string, any>}} A choice of a stream. */
function begun() {
	return { finish: null, message: { role: 'assistant', content: '' }, calls: new Map() };
}

/** A streamed answer of either dialect, judged and put together while it passes. */
class AnswerStream {
	constructor() {
		/** @type {Record<string, number> | null} */
		this.usage = null;
		/** True when the endpoint said that the answer is whole. */
		this.ended = false;
		/** @type {Record<string, any> | null} The whole answer, which ends a stream of the responses dialect. */
		this._response = null;
		/** @type {Record<string, any>} What all chunks share. */
		this._head = {};
		/** @type {Map<string, ReturnType<typeof begun>>} */
		this._choices = new Map();
		/** @type {AgentError | null} */
		this._error = null;
		this._pending = '';
		this._decoder = new TextDecoder();
	}

	/**
	 * Take bytes from the endpoint.
	 *
	 * @param {Uint8Array} data
	 * @returns {{event: string, token: string}[]} Whole events, and the text in each.
	 */
	feed(data) {
		const parts = (this._pending + this._decoder.decode(data, { stream: true })).split(/\r?\n\r?\n/);
		this._pending = parts.pop() ?? '';
		return parts.map((event) => ({ event, token: this._see(event) }));
	}

	/** @returns {AgentError | null} What was wrong with the whole answer. */
	finish() {
		if (this._pending.trim()) this._see(this._pending);
		if (this._error !== null) return this._error;
		if (!this.ended) return badOutput('the stream ended early', this._pending.slice(0, SHOWN) || undefined);
		return faultOf(this.whole());
	}

	/** @returns {Record<string, any>} The answer that a plain request would have got. */
	whole() {
		if (this._response !== null) return this._response;
		const choices = [...this._choices.values()].map(({ finish, message, calls }, index) => ({
			index,
			finish_reason: finish,
			message: {
				...message,
				content: message.content || null,
				...(calls.size && { tool_calls: [...calls.values()] }),
			},
		}));
		const usage = this.usage && {
			prompt_tokens: this.usage.input_tokens,
			completion_tokens: this.usage.output_tokens,
			total_tokens: this.usage.input_tokens + this.usage.output_tokens,
			prompt_tokens_details: { cached_tokens: this.usage.cached_tokens },
		};
		return { ...this._head, object: 'chat.completion', choices, ...(usage && { usage }) };
	}

	/** @param {string} event @returns {string} The text in it. */
	_see(event) {
		const lines = event.split(/\r?\n/).filter((line) => line.startsWith('data:'));
		const data = lines.map((line) => line.slice(5).trim()).join('\n');
		if (!data) return '';
		if (data === '[DONE]') {
			this.ended = true;
			return '';
		}
		let chunk;
		try {
			chunk = JSON.parse(data);
		} catch (error) {
			this._error ??= badOutput('a piece of the stream is not JSON', String(error));
			return '';
		}
		if (holds(chunk?.error)) {
			this._error = badOutput('an error inside the stream', JSON.stringify(chunk.error).slice(0, SHOWN));
		}
		this.usage = readUsage(chunk?.usage ?? chunk?.response?.usage) ?? this.usage;
		if (/^response\.(completed|incomplete|failed)$/.test(chunk?.type)) {
			this._response = isObject(chunk.response) ? chunk.response : {};
			this.ended = true;
			return '';
		}
		if (chunk?.type === 'response.output_text.delta') return textOf(chunk.delta);
		if (isObject(chunk)) {
			const { id, created, model } = chunk;
			this._head = { id, created, model };
		}
		return list(chunk?.choices).map((choice) => this._seeChoice(choice)).join('');
	}

	/** @param {any} choice @returns {string} */
	_seeChoice(choice) {
		const index = JSON.stringify(choice?.index ?? 0);
		const known = this._choices.get(index) ?? begun();
		this._choices.set(index, known);
		const { message, calls } = known;
		const delta = choice?.delta ?? {};
		known.finish = choice?.finish_reason ?? known.finish;
		this.ended ||= Boolean(known.finish);
		if (typeof delta.content === 'string') message.content += delta.content;
		if (typeof delta.refusal === 'string') message.refusal = (message.refusal ?? '') + delta.refusal;
		for (const call of list(delta.tool_calls)) {
			const at = JSON.stringify(call?.index ?? 0);
			const target = calls.get(at) ?? { id: '', type: 'function', function: { name: '', arguments: '' } };
			calls.set(at, target);
			target.id = call?.id ?? target.id;
			target.function.name += textOf(call?.function?.name);
			target.function.arguments += textOf(call?.function?.arguments);
		}
		return typeof delta.content === 'string' ? delta.content : '';
	}
}

module.exports = { AnswerStream, ENDPOINTS, readAnswer, statusFault };
