'use strict';
/** An answer gets one verdict, whole or streamed in any pieces, and no answer breaks the reader. */

const assert = require('node:assert/strict');
const { test } = require('node:test');

const answers = require('../../../../runtimes/n8n/orchestrator_n8n/guest/model_answers');

const { AnswerStream, readAnswer, statusFault } = answers;
const BAD = 'model_bad_output';

/** @param {unknown} answer @returns {ReturnType<typeof readAnswer>} */
function read(answer) {
	return readAnswer(Buffer.from(JSON.stringify(answer)));
}

/** @param {object} message @returns {object} A chat completion. */
function chat(message) {
	return { choices: [{ index: 0, message }] };
}

/** @param {string} text @param {string} [name] */
function call(text, name = 'weather') {
	return { function: { name, arguments: text } };
}

for (const [status, code] of /** @type {const} */ ([
	[400, 'model_rejected'],
	[401, 'model_rejected'],
	[408, 'model_unavailable'],
	[409, 'model_unavailable'],
	[425, 'model_unavailable'],
	[429, 'model_rate_limited'],
	[500, 'model_unavailable'],
	[529, 'model_unavailable'],
])) {
	test(`status ${status} is ${code}`, () => {
		const { code: told, detail, message } = statusFault(status, Buffer.from(''));
		assert.deepEqual([told, detail, message], [code, { status }, `the model endpoint answered ${status}`]);
	});
}

test('a refusal for want of budget has its own code, and few short facts', () => {
	const error = { type: 'budget_exceeded', message: 'used up', budget: { limit: 'tokens', allowed: 5, deep: {}, none: null } };
	for (const status of [400, 402, 429]) {
		const { code, detail, message, retryable } = statusFault(status, Buffer.from(JSON.stringify({ error })));
		assert.deepEqual([code, message, retryable], ['budget_exceeded', 'used up', false]);
		assert.deepEqual(detail, { limit: 'tokens', allowed: 5, status });
	}
	const many = Object.fromEntries(Array.from({ length: 50 }, (_, n) => [`k${n}`.repeat(400), 'v'.repeat(400)]));
	for (const budget of [many, [1], 'x', null]) {
		const { detail } = statusFault(402, Buffer.from(JSON.stringify({ error: { type: 'budget_exceeded', budget } })));
		assert.ok(Object.keys(detail).length <= 11 && JSON.stringify(detail).length < 8000);
	}
	for (const told of ['budget_exceeded', ['budget_exceeded'], { message: 'budget_exceeded' }, null]) {
		assert.equal(statusFault(400, Buffer.from(JSON.stringify({ error: told }))).code, 'model_rejected');
	}
});

for (const [body, cause] of [
	['{"error":{"message":"too many"}}', 'too many'],
	['{"error":"too many"}', '"too many"'],
	['{"message":"too many"}', 'too many'],
	['[1]', '[1]'],
	['null', 'null'],
	['<html>', '<html>'],
	['x'.repeat(1000), 'x'.repeat(300)],
]) {
	test(`an error's words are found in ${body.slice(0, 40)}`, () => {
		assert.equal(statusFault(400, Buffer.from(body)).cause, cause);
	});
}

/** @type {[string, unknown, RegExp | null][]} */
const VERDICTS = [
	['a text', chat({ content: 'sunny' }), null],
	['a refusal', chat({ content: null, refusal: 'no' }), null],
	['a tool call', chat({ content: null, tool_calls: [call('{"city":"Oslo"}')] }), null],
	['a tool call without arguments', chat({ tool_calls: [call('')] }), null],
	['an old function call', chat({ function_call: { name: 'weather', arguments: '{}' } }), null],
	['a completion', { choices: [{ text: 'sunny' }] }, null],
	['embeddings', { data: [{ embedding: [1] }] }, null],
	['a response', { output: [{ type: 'message', content: [{ text: 'sunny' }] }] }, null],
	["a response's tool call", { output: [{ type: 'function_call', name: 'a', arguments: '{}' }] }, null],
	['null', null, /not a JSON object/],
	['a list', [], /not a JSON object/],
	['an error with status 200', { error: { message: 'no' } }, /an error with status 200/],
	['no choices', { choices: [] }, /no choices/],
	['choices that are no list', { choices: 'x' }, /no choices/],
	['a choice that is null', { choices: [null] }, /empty content/],
	['an empty message', chat({ content: '' }), /empty content/],
	['one choice of two that is empty', { choices: [{ message: { content: 'a' } }, { message: {} }] }, /empty content/],
	['arguments that are cut off', chat({ tool_calls: [call('{}'), call('{"city":')] }), /call 'weather' are not JSON/],
	['arguments that are a list', chat({ tool_calls: [call('[1]')] }), /call 'weather' are no object/],
	['bad arguments of an old call', chat({ function_call: { name: 'tide', arguments: '{' } }), /'tide' are not JSON/],
	['content that is an empty list', chat({ content: [] }), /empty content/],
	['audio with nothing in it', chat({ audio: {} }), /empty content/],
	['an old call with nothing in it', chat({ function_call: {} }), /empty content/],
	['an error with nothing in it', { error: {}, ...chat({ content: 'sunny' }) }, null],
	['nothing that is known', {}, /neither choices nor output nor data/],
	['an empty response', { output: [] }, /empty content/],
	['a response of nulls', { output: [null, { content: [null] }] }, /empty content/],
	["a response's bad arguments", { output: [{ type: 'function_call', name: 'a', arguments: '{' }] }, /'a' are not JSON/],
];

for (const [name, answer, message] of VERDICTS) {
	test(`${name} is ${message === null ? 'usable' : 'unusable'}`, () => {
		const { error } = read(answer);
		if (message === null) assert.equal(error, null);
		else assert.deepEqual([error?.code, message.test(String(error?.message))], [BAD, true], String(error));
	});
}

test('a page, half of an answer and no answer are not JSON, and their beginning is told', () => {
	for (const body of ['<html>', '{"choices":[', '']) {
		const { usage, error } = readAnswer(Buffer.from(body));
		assert.deepEqual([usage, error?.code, error?.cause?.endsWith(`: ${body}`)], [null, BAD, true]);
	}
});

test('usage is read in both dialects, and what holds no counts is none', () => {
	const counts = { input_tokens: 3, output_tokens: 2, cached_tokens: 1 };
	const details = { cached_tokens: 1 };
	const chatUsage = { prompt_tokens: 3, completion_tokens: 2, prompt_tokens_details: details };
	assert.deepEqual(read({ usage: chatUsage }).usage, counts);
	assert.deepEqual(read({ usage: { input_tokens: 3, output_tokens: 2, input_tokens_details: details } }).usage, counts);
	assert.deepEqual(read({ usage: { prompt_tokens: 3 } }).usage, { input_tokens: 3, output_tokens: 0, cached_tokens: 0 });
	for (const usage of [null, [], 'x', {}, { prompt_tokens: -1 }, { prompt_tokens: 1.5 }, { prompt_tokens: '3' }]) {
		assert.equal(read({ usage }).usage, null);
	}
});

/** @param {unknown[]} chunks @param {string} [end] @returns {Buffer} The events of a stream. */
function events(chunks, end = '\n') {
	return Buffer.from(chunks.map((chunk) => `data: ${JSON.stringify(chunk)}${end}${end}`).join(''));
}

/** @param {object} delta @param {object} [more] */
function piece(delta, more = {}) {
	return { id: 'x', created: 1, model: 'm', choices: [{ index: 0, delta, ...more }] };
}

const STOP = piece({}, { finish_reason: 'stop' });

/** @param {Buffer} data @param {number} size Of the pieces. */
function streamed(data, size) {
	const stream = new AnswerStream();
	const passed = [];
	for (let at = 0; at < data.length; at += size) passed.push(...stream.feed(data.subarray(at, at + size)));
	const error = stream.finish();
	return { stream, error, events: passed.map(({ event }) => event), text: passed.map(({ token }) => token).join('') };
}

test('a stream in any pieces is put together to the answer that a plain request gets', () => {
	const chunks = [
		piece({ role: 'assistant', content: '' }),
		...['It is ', '😀', ' é'].map((content) => piece({ content })),
		piece({ tool_calls: [{ index: 0, id: 'c0', function: { name: 'weather', arguments: '' } }] }),
		piece({ tool_calls: [{ index: 1, id: 'c1', function: { name: 'tide', arguments: '{}' } }] }),
		...['{"city"', ':"Oslo"}'].map((text) => piece({ tool_calls: [{ index: 0, function: { arguments: text } }] })),
		piece({}, { finish_reason: 'tool_calls' }),
		{ id: 'x', created: 1, model: 'm', choices: [], usage: { prompt_tokens: 3, completion_tokens: 2 } },
	];
	for (const end of ['\n', '\r\n']) {
		const data = Buffer.concat([events(chunks, end), Buffer.from(`: comment${end}${end}data: [DONE]${end}${end}`)]);
		for (let size = 1; size < 40; size++) {
			const { stream, error, text, events: passed } = streamed(data, size);
			assert.deepEqual([error, text, passed.length], [null, 'It is 😀 é', chunks.length + 2]);
			assert.deepEqual(stream.usage, { input_tokens: 3, output_tokens: 2, cached_tokens: 0 });
			assert.deepEqual(stream.whole(), {
				id: 'x',
				created: 1,
				model: 'm',
				object: 'chat.completion',
				choices: [
					{
						index: 0,
						finish_reason: 'tool_calls',
						message: {
							role: 'assistant',
							content: 'It is 😀 é',
							tool_calls: [
								{ id: 'c0', type: 'function', function: { name: 'weather', arguments: '{"city":"Oslo"}' } },
								{ id: 'c1', type: 'function', function: { name: 'tide', arguments: '{}' } },
							],
						},
					},
				],
				usage: {
					prompt_tokens: 3,
					completion_tokens: 2,
					total_tokens: 5,
					prompt_tokens_details: { cached_tokens: 0 },
				},
			});
		}
	}
});

for (const index of [1, 5e7, -1, 0.5, 'x', null, { toString: 1 }, [[]]]) {
	test(`a tool call with the index ${JSON.stringify(index)} is one call, judged like any`, () => {
		const whole = (/** @type {string} */ text) =>
			streamed(
				events([piece({ tool_calls: [{ index, id: 'c', function: { name: 'weather', arguments: text } }] }), STOP], '\n'),
				1000,
			);
		assert.match(String(whole('{"city":').error?.message), /call 'weather' are not JSON/);
		const { error, stream } = whole('{}');
		assert.equal(error, null);
		assert.equal(stream.whole().choices[0].message.tool_calls.length, 1);
	});
}

for (const index of ['x', { toString: 1, valueOf: 1 }]) {
	test(`a choice with the index ${JSON.stringify(index)} is a choice`, () => {
		const chunk = { choices: [{ index, delta: { content: 'sunny' }, finish_reason: 'stop' }] };
		assert.deepEqual([streamed(events([chunk], '\n'), 1000).error], [null]);
	});
}

for (const [name, chunks, message] of /** @type {[string, object[], RegExp][]} */ ([
	['nothing in its end', [{ type: 'response.completed' }], /neither choices nor output nor data/],
	['a word as its end', [{ type: 'response.completed', response: 'x' }], /neither choices nor output nor data/],
])) {
	test(`a stream of the responses dialect with ${name} is bad output`, () => {
		assert.match(String(streamed(events(chunks, '\n'), 1000).error?.message), message);
	});
}

test('a piece of text that is no text is none', () => {
	const chunks = [{ type: 'response.output_text.delta' }, { type: 'response.output_text.delta', delta: { a: 1 } }];
	assert.equal(streamed(events(chunks, '\n'), 1000).text, '');
});

test('a stream that is cut anywhere before its end is never a good answer', () => {
	const data = events([piece({ content: 'sunny' }), STOP]);
	for (let length = 0; length < data.length - 4; length++) {
		assert.equal(streamed(data.subarray(0, length), 7).error?.code, BAD, `${length} bytes`);
	}
	assert.equal(streamed(data, 7).error, null);
	assert.equal(streamed(data.subarray(0, data.length - 2), 7).error, null, 'the last event needs no blank line');
});

test('two choices and a refusal are kept apart', () => {
	const refusing = { id: 'x', choices: [{ index: 1, delta: { refusal: 'I ' } }] };
	const more = { id: 'x', choices: [{ index: 1, delta: { refusal: 'cannot' }, finish_reason: 'stop' }] };
	const { stream, error } = streamed(events([piece({ content: 'a' }), refusing, more, STOP]), 1000);
	assert.equal(error, null);
	const messages = stream.whole().choices.map((/** @type {any} */ choice) => choice.message);
	assert.deepEqual(messages, [
		{ role: 'assistant', content: 'a' },
		{ role: 'assistant', content: null, refusal: 'I cannot' },
	]);
});

test('a stream of the responses dialect ends with the whole response, and its text is told before', () => {
	const usage = { input_tokens: 3, output_tokens: 2 };
	const output = [{ type: 'message', content: [{ type: 'output_text', text: 'sunny' }] }];
	for (const [type, response, message] of /** @type {const} */ ([
		['response.completed', { output, usage }, null],
		['response.incomplete', { output, usage }, null],
		['response.completed', { output: [], usage }, /empty content/],
		['response.failed', { error: { message: 'no' }, usage }, /an error/],
	])) {
		const begun = [{ type: 'response.created', response: {} }, { type: 'response.output_text.delta', delta: 'sun' }];
		const { stream, error, text } = streamed(events([...begun, { type, response }]), 9);
		assert.deepEqual([text, stream.usage], ['sun', { ...usage, cached_tokens: 0 }]);
		if (message === null) assert.deepEqual([error, stream.whole()], [null, response]);
		else assert.match(String(error?.message), message);
		assert.match(String(streamed(events(begun), 9).error?.message), /the stream ended early/);
	}
});

/** @type {[string, string, RegExp][]} */
const BROKEN = [
	['nothing', '', /the stream ended early/],
	['a page', '<html>sorry</html>', /the stream ended early/],
	['a piece that is no JSON', 'data: {"choices"\n\ndata: [DONE]\n\n', /a piece of the stream is not JSON/],
	['an error', 'data: {"error":{"message":"no"}}\n\ndata: [DONE]\n\n', /an error inside the stream/],
	['only its end', 'data: [DONE]\n\n', /no choices/],
	['an empty answer', events([piece({ content: '' }), STOP]).toString(), /empty content/],
	[
		'arguments that are cut off',
		events([piece({ tool_calls: [{ index: 0, function: { name: 'tide', arguments: '{' } }] }), STOP]).toString(),
		/call 'tide' are not JSON/,
	],
];

for (const [name, text, message] of BROKEN) {
	test(`a stream of ${name} is unusable`, () => {
		const { error } = streamed(Buffer.from(text), 5);
		assert.deepEqual([error?.code, message.test(String(error?.message))], [BAD, true], String(error));
	});
}

test('pieces of any shape and bytes that are no text do not break the reader', () => {
	const choices = [null, 1, { delta: 5 }, { delta: { tool_calls: [null] } }];
	const odd = [null, 1, 'x', [], { choices: 5 }, { choices }];
	const { stream, text } = streamed(events([...odd, { usage: 'x', choices: [] }]), 3);
	assert.deepEqual([stream.usage, text], [null, '']);
	assert.equal(streamed(Buffer.alloc(10_000, 0xff), 11).error?.code, BAD);
});
