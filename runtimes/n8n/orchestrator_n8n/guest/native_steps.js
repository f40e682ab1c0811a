'use strict';
/**
 * Steps of a native workflow in the journal: a retry takes the result of a finished one and does not run it. What
 * decides is the same as in `orchestrator_runtimes.native_steps`.
 */

const { createHash } = require('node:crypto');

const { AgentError } = require('./errors');

/** Longest result, as JSON, that is kept. */
const KEPT_CHARACTERS = 1_000_000;

/** What `keep` returns of a result that cannot be kept. */
const NOT_KEPT = Symbol('not kept');

/** @typedef {import('./execution').Execution} Execution */
/**
 * One run of a node, or one call of a tool.
 *
 * @template T
 * @typedef {object} Work
 * @property {string} name Of the node.
 * @property {unknown} told All that its result depends on, as JSON.
 * @property {boolean} once Whether it may never run a second time.
 * @property {object} [attempt] The same for each attempt of a node that n8n runs again when it failed.
 * @property {() => Promise<T>} run
 * @property {(result: T) => Promise<unknown>} keep What to record; undefined when there is nothing to be kept.
 * @property {(kept: any) => Promise<T>} give Makes the result again.
 */

class NativeSteps {
	/** @param {Execution} execution @param {Record<string, number>} [counts] From `counts`, of the part before a wait. */
	constructor(execution, counts = {}) {
		this._execution = execution;
		/** @type {Map<string, number>} How often each step came up. */
		this._counts = new Map(Object.entries(counts));
		/** @type {WeakMap<object, {step: string, occurrence: number}>} */
		this._attempts = new WeakMap();
		/** @type {Map<string, number>} Results that were taken and not told yet, by node. */
		this._taken = new Map();
	}

	/** @returns {Record<string, number>} How often each step came up: what goes on later counts on from here. */
	get counts() {
		return Object.fromEntries(this._counts);
	}

	/** @param {string} name Of a node that is told to have ended. @returns {boolean} Whether its result was taken. */
	tookFor(name) {
		const taken = this._taken.get(name) ?? 0;
		if (taken) this._taken.set(name, taken - 1);
		return taken > 0;
	}

	/**
	 * Run a step, or take its result from the journal.
	 *
	 * @template T @param {Work<T>} work @returns {Promise<T>}
	 * @throws {AgentError} After it stopped the execution: the step may run only once and an earlier try began it, or
	 *   the journal does not answer.
	 */
	async through({ name, told, once, attempt, run, keep, give }) {
		this._execution.check();
		const step = createHash('sha256').update(JSON.stringify([name, sorted(told)])).digest('hex');
		const place = { step, occurrence: this._occurrence(step, attempt) };
		const found = await this._ask('step.lookup', { ...place, once });
		if (found.state === 'finished') {
			this._taken.set(name, (this._taken.get(name) ?? 0) + 1);
			return await give(JSON.parse(found.result ?? 'null'));
		}
		if (found.state === 'started' && once) throw this._stopped(unknownResult(name));
		const result = await run();
		const kept = await keep(result);
		if (kept === undefined) return result;
		const text = textOf(kept);
		if (text !== null) {
			await this._ask('step.record', { ...place, result: text });
		} else {
			const what = `the output of the node '${name}' is not journaled, a retry would run it again`;
			await this._execution.log(`${what}: it is no plain JSON, or has more than ${KEPT_CHARACTERS} characters`, 'warning');
		}
		return result;
	}

	/** @param {string} step @param {object} [attempt] @returns {number} Equal steps are told apart by their order. */
	_occurrence(step, attempt) {
		const earlier = attempt === undefined ? undefined : this._attempts.get(attempt);
		if (earlier?.step === step) return earlier.occurrence;
		const occurrence = this._counts.get(step) ?? 0;
		this._counts.set(step, occurrence + 1);
		if (attempt !== undefined) this._attempts.set(attempt, { step, occurrence });
		return occurrence;
	}

	/** @param {'step.lookup' | 'step.record'} method @param {object} params @returns {Promise<any>} */
	async _ask(method, params) {
		try {
			return await this._execution.callHost(method, params);
		} catch (error) {
			throw this._stopped(error instanceof AgentError ? error : unavailable(error));
		}
	}

	/** @param {AgentError} error Ends the execution: n8n would tell it to the model, or go on along the error's path. */
	_stopped(error) {
		this._execution.stop(error);
		return error;
	}
}

/** @param {unknown} error @returns {AgentError} */
function unavailable(error) {
	return new AgentError('state_unavailable', 'the journal of steps does not answer', { cause: String(error) });
}

/** @param {string} name @returns {AgentError} */
function unknownResult(name) {
	const what = `the node '${name}' was started by an earlier try and may run only once; its result is unknown`;
	return new AgentError('tool_failed', what, { detail: { tool: name, state: 'started' } });
}

/** @param {unknown} value @returns {any} The same with the members of its objects in order. */
function sorted(value) {
	if (Array.isArray(value)) return value.map(sorted);
	if (typeof value !== 'object' || value === null) return value;
	const members = Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1));
	return Object.fromEntries(members.map(([name, member]) => [name, sorted(member)]));
}

/** @param {unknown} value @returns {string | null} Its JSON; null when that is too long, or would not give the same back. */
function textOf(value) {
	if (!plain(value)) return null;
	const text = JSON.stringify(value);
	return text.length > KEPT_CHARACTERS ? null : text;
}

/** @param {unknown} value @returns {boolean} Whether JSON gives it back; a member that is undefined counts as none. */
function plain(value) {
	if (value === null || ['string', 'boolean'].includes(typeof value)) return true;
	if (typeof value === 'number') return Number.isFinite(value);
	if (Array.isArray(value)) return value.every(plain);
	if (typeof value !== 'object') return false;
	const prototype = Object.getPrototypeOf(value);
	const simple = prototype === null || Object.getPrototypeOf(prototype) === null; // `Object` of any realm
	return simple && Object.values(value).every((member) => member === undefined || plain(member));
}

module.exports = { NOT_KEPT, NativeSteps };
