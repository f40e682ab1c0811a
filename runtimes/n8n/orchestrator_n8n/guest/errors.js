'use strict';
/** Errors of the contract, as `orchestrator_runtimes.errors` has them. */

const { inspect } = require('node:util');

const CAUSE_CHARACTERS = 2000;

const RETRYABLE = new Set([
	'model_unavailable',
	'model_rate_limited',
	'model_bad_output',
	'timeout',
	'state_unavailable',
	'runtime_crashed',
]);

/** Every code there is. */
const CODES = new Set([
	...RETRYABLE,
	'invalid_input',
	'agent_not_found',
	'agent_load_failed',
	'model_rejected',
	'tool_failed',
	'output_schema_mismatch',
	'limit_exceeded',
	'budget_exceeded',
	'cancelled',
	'framework_error',
]);

/** An error with a code of the closed set; `detail` holds facts for programs. */
class AgentError extends Error {
	/**
	 * @param {string} code One of the closed set.
	 * @param {string} message One line: what is wrong, where, and what to change.
	 * @param {{cause?: string, detail?: Record<string, string | number>}} [more]
	 */
	constructor(code, message, { cause, detail } = {}) {
		super(message);
		this.name = 'AgentError';
		this.code = code;
		this.cause = cause?.slice(0, CAUSE_CHARACTERS);
		this.detail = detail ?? {};
	}

	/** Whether the same request may succeed later. */
	get retryable() {
		return RETRYABLE.has(this.code);
	}
}

/** A request was refused by the protocol itself; `code` is the JSON-RPC error code. */
class Refused extends Error {
	/**
	 * @param {number} code
	 * @param {string} message
	 */
	constructor(code, message) {
		super(message);
		this.code = code;
	}
}

/** @returns {AgentError} What hands an execution back: it may be tried again elsewhere. */
function toldToStop() {
	return new AgentError('runtime_crashed', 'the runtime was told to stop before the execution ended');
}

/** @param {unknown} error @returns {string} The kind and the words of anything that was thrown. */
function words(error) {
	if (error instanceof Error) return `${error.name}: ${error.message}`;
	return typeof error === 'string' ? error : inspect(error); // `String` would run whatever the object brings
}

module.exports = { AgentError, CODES, Refused, toldToStop, words };
