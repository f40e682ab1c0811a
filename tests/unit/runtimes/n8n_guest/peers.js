'use strict';
/** A connection under test, and the raw stream of a peer that talks to it. */

const net = require('node:net');
const { once } = require('node:events');

const { Connection } = require('../../../../runtimes/n8n/orchestrator_n8n/guest/connection');

/** What a test does with both ends. */
class Peer {
	/** @param {net.Socket} socket @param {Connection} connection @param {Promise<void>} served */
	constructor(socket, connection, served) {
		this.socket = socket;
		this.connection = connection;
		/** Fulfilled when the connection reads no more. */
		this.served = served;
		this._lines = this._read();
		socket.on('error', () => {}); // it ends what is heard
	}

	/** @param {...(string | Buffer)} data Sent as it is. */
	say(...data) {
		for (const part of data) this.socket.write(part);
	}

	/** @returns {Promise<any>} The next message; null when the connection has ended. */
	async hear() {
		const { value, done } = await this._lines.next();
		return done ? null : JSON.parse(value);
	}

	async *_read() {
		/** @type {string[]} */
		let begun = [];
		this.socket.setEncoding('utf8');
		try {
			for await (const data of this.socket) {
				const [first, ...more] = String(data).split('\n');
				begun.push(first);
				const rest = more.pop();
				if (rest === undefined) continue;
				yield begun.join('');
				yield* more;
				begun = [rest];
			}
		} catch {
			return;
		}
	}
}

/**
 * Run a test with two ends, and close both.
 *
 * @param {Partial<ConstructorParameters<typeof Connection>[1]>} options
 * @param {(peer: Peer) => Promise<void>} scenario
 */
async function withPeer(options, scenario) {
	const server = net.createServer().listen(0, '127.0.0.1');
	await once(server, 'listening');
	const { port } = /** @type {net.AddressInfo} */ (server.address());
	const socket = net.connect({ port, host: '127.0.0.1', noDelay: true });
	const [accepted] = await once(server, 'connection');
	const echo = async (/** @type {unknown} */ params) => params;
	const connection = new Connection(accepted, { handlers: { echo }, requests: 4, ...options });
	const peer = new Peer(socket, connection, connection.serve());
	try {
		await scenario(peer);
	} finally {
		connection.close();
		socket.destroy();
		server.close();
		await peer.served;
	}
}

/** @param {unknown} id @param {string} [method] @param {unknown} [params] @returns {string} The line of a request. */
function request(id, method = 'echo', params = {}) {
	return `${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`;
}

module.exports = { request, withPeer };
