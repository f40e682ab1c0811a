'use strict';
/** The reason names the place and what was expected; that the verdict is Python's is tested in Python. */

const assert = require('node:assert/strict');
const { test } = require('node:test');

const { mismatch } = require('../../../../runtimes/n8n/orchestrator_n8n/guest/schemas');

const TREE = {
	type: 'object',
	properties: { children: { type: 'array', items: { $ref: '#' } } },
	additionalProperties: false,
};

/** @type {[object | boolean, unknown, string | null][]} */
const CASES = [
	[true, 1, null],
	[false, 1, 'output: not allowed'],
	[{ type: ['string', 'null'] }, 1, 'output: expected string or null, got 1'],
	[{ type: 'integer' }, 1.5, 'output: expected integer, got 1.5'],
	[{ type: 'integer' }, 1.0, null],
	[{ type: 'number' }, true, 'output: expected number, got true'],
	[{ type: 'object' }, [], 'output: expected object, got []'],
	[{ type: 'date' }, 1, null],
	[{ properties: { a: { type: 'string' } } }, { a: 1 }, 'output.a: expected string, got 1'],
	[{ properties: { a: false } }, { b: 1 }, null],
	[{ required: ['a'] }, {}, "output: 'a' is missing"],
	[{ required: ['toString'] }, {}, "output: 'toString' is missing"],
	[{ additionalProperties: { type: 'null' } }, { constructor: 1 }, 'output.constructor: expected null, got 1'],
	[{ items: { maximum: 3 } }, [1, 5], 'output[1]: maximum is 3, got 5'],
	[{ minimum: 2 }, 1, 'output: minimum is 2, got 1'],
	[{ minimum: 2 }, '', null],
	[{ minLength: 2 }, '😀', 'output: minLength is 2, got 1'],
	[{ maxLength: 1 }, '😀', null],
	[{ minItems: 1 }, [], 'output: minItems is 1, got 0'],
	[{ maxItems: 0 }, [1], 'output: maxItems is 0, got 1'],
	[{ enum: [1, { a: [1] }] }, { a: [1] }, null],
	[{ enum: [1] }, true, 'output: expected one of [1], got true'],
	[{ const: { a: 1, b: 2 } }, { b: 2, a: 1 }, null],
	[{ const: { a: 1 } }, { a: 1, b: 2 }, 'output: expected {"a":1}, got {"a":1,"b":2}'],
	[{ const: [] }, {}, 'output: expected [], got {}'],
	[{ const: {} }, [], 'output: expected {}, got []'],
	[{ anyOf: [{ type: 'null' }, { type: 'string' }] }, 'a', null],
	[{ anyOf: [{ type: 'null' }] }, 1, 'output: matches none of the alternatives (output: expected null, got 1)'],
	[{ $ref: '#/$defs/a~1b', $defs: { 'a/b': { type: 'null' } } }, 1, 'output: expected null, got 1'],
	[{ $ref: '#/$defs/none' }, 1, null],
	[{ $ref: '#/constructor' }, 1, null],
	[{ $ref: 'elsewhere#' }, 1, null],
	[{ $ref: '#' }, 1, 'output: nested too deeply'],
	[TREE, { children: [{ children: [] }, {}] }, null],
	[TREE, { children: [{ name: 1 }] }, 'output.children[0].name: not allowed'],
];

for (const [schema, value, reason] of CASES) {
	test(`${JSON.stringify(value)} by ${JSON.stringify(schema)}`, () => {
		assert.equal(mismatch(schema, value), reason);
	});
}

test('a value is named and its references begin where the caller says', () => {
	const root = { $defs: { name: { type: 'string' } } };
	assert.equal(mismatch({ $ref: '#/$defs/name' }, 1, { where: 'load', root }), 'load: expected string, got 1');
});

test('a long value is shown in part', () => {
	const reason = mismatch({ type: 'null' }, 'x'.repeat(1000));
	assert.ok(reason !== null && reason.length < 150);
});
