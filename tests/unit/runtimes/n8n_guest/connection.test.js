'use strict';
/** Whatever a peer sends, it is answered clearly, nothing hangs, and a request after it works. */

const assert = require('node:assert/strict');
const { setTimeout: sleep } = require('node:timers/promises');
const { test } = require('node:test');

const { MESSAGE_BYTES } = require('../../../../runtimes/n8n/orchestrator_n8n/guest/connection');
const { AgentError, Refused } = require('../../../../runtimes/n8n/orchestrator_n8n/guest/errors');
const { CODES } = require('../../../../runtimes/n8n/orchestrator_n8n/guest/errors');
const { request, withPeer } = require('./peers');

const PARSE_ERROR = -32700;
const INVALID_REQUEST = -32600;
const METHOD_NOT_FOUND = -32601;
const AGENT_ERROR = -32000;
const BUSY = -32001;
const LINE = /** @type {const} */ ({ jsonrpc: '2.0' });

test('a request is answered with its id, in one piece or byte by byte', async () => {
	await withPeer({}, async (peer) => {
		peer.say(request('a-name', 'echo', { n: 'é😀' }) + request(2));
		assert.deepEqual(await peer.hear(), { ...LINE, id: 'a-name', result: { n: 'é😀' } });
		assert.deepEqual(await peer.hear(), { ...LINE, id: 2, result: {} });
		for (const byte of Buffer.from(request(3, 'echo', 'é😀'))) {
			peer.say(Buffer.from([byte]));
			await sleep(0);
		}
		assert.deepEqual(await peer.hear(), { ...LINE, id: 3, result: 'é😀' });
	});
});

/** @type {[string, string | Buffer, number, unknown][]} */
const MALFORMED = [
	['words', 'not json\n', PARSE_ERROR, null],
	['an empty line', '\n', PARSE_ERROR, null],
	['half of an object', '{"jsonrpc":"2.0",\n', PARSE_ERROR, null],
	['bytes that are no UTF-8', Buffer.from([0x22, 0xff, 0xfe, 0x22, 0x0a]), PARSE_ERROR, null],
	['zeros', Buffer.concat([Buffer.alloc(1000), Buffer.from('\n')]), PARSE_ERROR, null],
	['a list', '[]\n', INVALID_REQUEST, null],
	['null', 'null\n', INVALID_REQUEST, null],
	['a number', '7\n', INVALID_REQUEST, null],
	['no version', '{"id":1,"method":"echo"}\n', INVALID_REQUEST, null],
	['another version', '{"jsonrpc":"1.0","id":1,"method":"echo"}\n', INVALID_REQUEST, null],
	['a method that is no text', '{"jsonrpc":"2.0","id":1,"method":5}\n', INVALID_REQUEST, 1],
	['an id that is an object', '{"jsonrpc":"2.0","id":{},"method":"echo"}\n', INVALID_REQUEST, null],
	['an id that is null', '{"jsonrpc":"2.0","id":null,"method":"echo"}\n', INVALID_REQUEST, null],
	['an id that is no whole number', '{"jsonrpc":"2.0","id":1.5,"method":"echo"}\n', INVALID_REQUEST, null],
	['an id that is no exact number', '{"jsonrpc":"2.0","id":9007199254740993,"method":"echo"}\n', INVALID_REQUEST, null],
	['an empty id', '{"jsonrpc":"2.0","id":"","method":"echo"}\n', INVALID_REQUEST, null],
	['an id that is too long', request('x'.repeat(129)), INVALID_REQUEST, null],
	['an answer to no request', '{"jsonrpc":"2.0","id":99,"result":{}}\n', INVALID_REQUEST, 99],
	['an unknown method', request(1, 'explode'), METHOD_NOT_FOUND, 1],
	['a method that every object has', request(1, 'constructor'), METHOD_NOT_FOUND, 1],
	['a method that sets prototypes', request(1, '__proto__'), METHOD_NOT_FOUND, 1],
	['a very long method', request(1, 'x'.repeat(10_000)), METHOD_NOT_FOUND, 1],
];

for (const [name, line, code, id] of MALFORMED) {
	test(`${name} is answered, and the next request works`, async () => {
		await withPeer({}, async (peer) => {
			peer.say(line);
			const answer = await peer.hear();
			assert.deepEqual([answer.error.code, answer.id], [code, id]);
			assert.ok(answer.error.message.length <= 1000);
			peer.say(request(7));
			assert.equal((await peer.hear()).id, 7);
		});
	});
}

test('an error answer with no id is never answered', async () => {
	await withPeer({}, async (peer) => {
		peer.say('{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"not JSON"}}\n', request(1));
		assert.equal((await peer.hear()).id, 1);
	});
});

test('random bytes never break the connection while they are few lines', async () => {
	let state = 7;
	const random = () => (state = (state * 16_807) % 2_147_483_647) & 0xff;
	await withPeer({}, async (peer) => {
		for (let round = 0; round < 20; round++) {
			const bytes = Buffer.from(Array.from({ length: 500 }, random).filter((byte) => byte !== 10));
			peer.say(bytes, '\n');
			assert.equal((await peer.hear()).error.code, PARSE_ERROR);
		}
		peer.say(request(1));
		assert.equal((await peer.hear()).id, 1);
	});
});

for (const [name, end] of [['with its end', '"\n'], ['without its end', '']]) {
	test(`a message that is too long, ${name}, is answered and ends the connection`, async () => {
		await withPeer({}, async (peer) => {
			peer.say('"', Buffer.alloc(MESSAGE_BYTES, 'x'), end);
			const answer = await peer.hear();
			assert.equal(answer.error.code, INVALID_REQUEST);
			assert.match(answer.error.message, /longer than 16777216 bytes/);
			assert.equal(await peer.hear(), null);
			await peer.served;
		});
	});
}

test('a message that is almost too long is read', async () => {
	const text = 'x'.repeat(MESSAGE_BYTES - request(1, 'echo', '').length);
	await withPeer({}, async (peer) => {
		peer.say(request(1, 'echo', text));
		assert.equal((await peer.hear()).result.length, text.length);
	});
});

test('a message that is cut off is never acted on', async () => {
	/** @type {unknown[]} */
	const acted = [];
	await withPeer({ handlers: { echo: async (params) => acted.push(params) } }, async (peer) => {
		peer.socket.end(request(1).trimEnd());
		await peer.served;
		assert.equal(peer.connection.closed, true);
	});
	assert.deepEqual(acted, []);
});

test('too many malformed lines end the connection', async () => {
	await withPeer({}, async (peer) => {
		peer.say('no\n'.repeat(100));
		let heard = 0;
		while ((await peer.hear()) !== null) heard++;
		assert.equal(heard, 100);
		await peer.served;
	});
});

test('what follows too many malformed lines is not done, also where it came with them', async () => {
	/** @type {unknown[]} */
	const done = [];
	const handlers = { act: async (/** @type {unknown} */ params) => done.push(params) };
	await withPeer({ handlers }, async (peer) => {
		peer.say('no\n'.repeat(100) + request(1, 'act'));
		while ((await peer.hear()) !== null);
		await peer.served;
	});
	assert.deepEqual(done, []);
});

test('one request too many is refused as busy, an id in use as invalid, and the others end', async () => {
	/** @type {PromiseWithResolvers<object>} */
	const release = Promise.withResolvers();
	await withPeer({ handlers: { echo: () => release.promise } }, async (peer) => {
		peer.say(...[1, 2, 3, 1, 4, 5].map((id) => request(id)));
		const twice = { code: INVALID_REQUEST, message: 'a request with id 1 is still running' };
		assert.deepEqual((await peer.hear()).error, twice);
		const busy = await peer.hear();
		assert.deepEqual([busy.id, busy.error.code], [5, BUSY]);
		release.resolve({});
		const ended = [await peer.hear(), await peer.hear(), await peer.hear(), await peer.hear()];
		assert.deepEqual(ended.map(({ id }) => id).sort(), [1, 2, 3, 4]);
		peer.say(request(1));
		assert.deepEqual(await peer.hear(), { ...LINE, id: 1, result: {} }, 'an id is free when its request has ended');
	});
});

test('what a handler throws reaches the peer, by its kind, and ends nothing', async () => {
	const cause = 'c'.repeat(3000);
	const handlers = {
		refuses: async () => {
			throw new Refused(-32602, 'not so');
		},
		fails: async () => {
			throw new AgentError('timeout', 'it took too long', { cause, detail: { seconds: 3 } });
		},
		consumed: async () => {
			throw Object.assign(new AgentError('tool_failed', 'no'), { usage: { model_calls: 2 } });
		},
		breaks: async () => {
			throw new TypeError('oops');
		},
		isNoJson: async () => 10n,
	};
	await withPeer({ handlers }, async (peer) => {
		const errors = [];
		for (const method of Object.keys(handlers)) {
			peer.say(request(1, method));
			errors.push((await peer.hear()).error);
		}
		const [refused, failed, consumed, broken, noJson] = errors;
		assert.deepEqual(refused, { code: -32602, message: 'not so' });
		const told = { code: 'timeout', retryable: true, detail: { seconds: 3 }, cause: cause.slice(0, 2000) };
		assert.deepEqual(failed, { code: AGENT_ERROR, message: 'it took too long', data: told });
		assert.deepEqual(consumed.data, { code: 'tool_failed', retryable: false, detail: {}, usage: { model_calls: 2 } });
		assert.deepEqual(broken.data, { code: 'framework_error', retryable: false, detail: {}, cause: 'TypeError: oops' });
		assert.equal(noJson.data.code, 'framework_error');
	});
});

test('an answer that is longer than the peer reads is an error', async () => {
	await withPeer({}, async (peer) => {
		peer.connection.peerMessageBytes = 200;
		peer.say(request(1, 'echo', 'x'.repeat(500)), request(2, 'echo', 'x'));
		assert.equal((await peer.hear()).error.data.code, 'limit_exceeded');
		assert.equal((await peer.hear()).result, 'x');
	});
});

/** @type {[string, object, string, RegExp][]} */
const FAILURES = [
	['an error of the contract', { error: { code: -32000, message: 'm', data: { code: 'timeout' } } }, 'timeout', /^m$/],
	['an error beside a result', { result: 1, error: { message: 'm', data: { code: 'timeout' } } }, 'timeout', /^m$/],
];

for (const [name, answer, code, message] of FAILURES) {
	test(`a call that gets ${name} is rejected with it`, async () => {
		await withPeer({}, async (peer) => {
			const call = peer.connection.call('ask', { x: 1 });
			const { id, method, params } = await peer.hear();
			assert.deepEqual([method, params], ['ask', { x: 1 }]);
			peer.say(`${JSON.stringify({ ...LINE, id, ...answer })}\n`);
			await assert.rejects(call, { name: 'AgentError', code, message });
		});
	});
}

for (const [name, answer] of Object.entries({
	'neither result nor error': {},
	'an error that is a word': { error: 'no' },
	'an error that is null': { error: null },
	'an error whose data is a list': { error: { message: 'm', data: [] } },
	'a cause that is a number': { error: { message: 'm', data: { code: 'timeout', cause: 1 } } },
	'a message that cannot be shown': { error: { message: { toString: 1 } } },
	'a code that there is not': { error: { message: 'm', data: { code: 'nonsense' } } },
	'a code that is an object': { error: { message: 'm', data: { code: {} } } },
})) {
	test(`a call that gets ${name} is rejected and does not hang`, async () => {
		await withPeer({}, async (peer) => {
			const call = peer.connection.call('ask', {});
			const { id } = await peer.hear();
			peer.say(`${JSON.stringify({ ...LINE, id, ...answer })}\n`);
			await assert.rejects(call, ({ name, code: told }) => name === 'AgentError' && CODES.has(told));
			peer.say(request(7));
			assert.equal((await peer.hear()).id, 7);
		});
	});
}

test('calls are answered in any order, and only once', async () => {
	await withPeer({}, async (peer) => {
		const calls = [peer.connection.call('ask', {}), peer.connection.call('ask', {})];
		const ids = [(await peer.hear()).id, (await peer.hear()).id];
		peer.say(`${JSON.stringify({ ...LINE, id: ids[1], result: 'second' })}\n`);
		assert.equal(await calls[1], 'second');
		peer.say(`${JSON.stringify({ ...LINE, id: ids[1], result: 'again' })}\n`);
		assert.equal((await peer.hear()).error.message, 'an answer to no request');
		peer.say(`${JSON.stringify({ ...LINE, id: ids[0], result: null })}\n`);
		assert.equal(await calls[0], null);
	});
});

for (const how of /** @type {const} */ (['end', 'destroy', 'resetAndDestroy'])) {
	test(`a peer that goes away by ${how} fails what waits, and nothing can be sent any more`, async () => {
		await withPeer({}, async (peer) => {
			const call = peer.connection.call('ask', {});
			await peer.hear();
			peer.socket[how]();
			await assert.rejects(call, { code: 'runtime_crashed', retryable: true });
			await peer.served;
			assert.equal(peer.connection.ended.signal.aborted, true);
			await assert.rejects(peer.connection.call('ask', {}), { code: 'runtime_crashed' });
			await assert.rejects(peer.connection.notify('event', {}), { code: 'runtime_crashed' });
		});
	});
}

test('notifications are handled one after the other, and the next line waits for them', async () => {
	/** @type {unknown[]} */
	const noted = [];
	const notified = async (/** @type {string} */ method, /** @type {any} */ params) => {
		noted.push(`${method} ${params.n} begins`);
		await sleep(5);
		noted.push(`${method} ${params.n} ends`);
	};
	await withPeer({ notified }, async (peer) => {
		for (const n of [1, 2]) peer.say(`${JSON.stringify({ ...LINE, method: 'event', params: { n } })}\n`);
		peer.say(request(1));
		await peer.hear();
		assert.deepEqual(noted, ['event 1 begins', 'event 1 ends', 'event 2 begins', 'event 2 ends']);
	});
});

for (const [name, go] of /** @type {const} */ ([['reads again', 'resume'], ['goes away', 'destroy']])) {
	test(`a peer that does not read holds the writer back until it ${name}`, async () => {
		await withPeer({}, async (peer) => {
			const text = 'x'.repeat(1024 * 1024);
			let told = 0;
			const writing = (async () => {
				for (; told < 64; told++) await peer.connection.notify('event', { text });
			})();
			writing.catch(() => {});
			await sleep(300);
			assert.ok(told < 64, 'it was held back');
			peer.socket[go]();
			if (go === 'resume') await writing;
			else await assert.rejects(writing, { code: 'runtime_crashed' });
		});
	});
}
