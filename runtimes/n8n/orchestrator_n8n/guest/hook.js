'use strict';
/**
 * The external hook that makes n8n's process a guest: when n8n is ready, it listens for the trusted side.
 *
 * Variables set by `orchestrator_n8n.start`: N8N_APP, ORCHESTRATOR_GUEST (JSON of its command line).
 */

const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');

async function ready() {
	const { ModelProxy } = require('./model_proxy');
	const { N8nRuntime } = require('./runtime');
	const { ToolGuest } = require('./tool_guest');
	const { Worker } = require('./worker');
	const { load } = require('./n8n_internals');

	const options = JSON.parse(String(process.env.ORCHESTRATOR_GUEST));
	const n8n = load(String(process.env.N8N_APP));
	const proxy = new ModelProxy();
	await proxy.listen(options.proxy_port);
	const tools = new ToolGuest({ ...options, executions: 1000 });
	const read = (/** @type {string} */ file) => JSON.parse(fs.readFileSync(file, 'utf8'));
	const description = {
		framework: 'n8n',
		framework_version: n8n.version,
		python: `node ${process.versions.node}`,
		capabilities: read(path.join(__dirname, '..', 'capabilities.json')),
		max_executions: options.max_executions,
		cancel: 'task',
	};
	const end = () => process.exit(0);
	const worker = new Worker(new N8nRuntime(n8n, proxy, tools), description, read(options.schema), end);
	const server = net.createServer((socket) => void worker.accept(socket));
	server.listen(options.socket);
	for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) {
		process.removeAllListeners(signal); // n8n's own would end the process at once: it knows nothing of what runs here
		process.once(signal, () => {
			server.close();
			tools.leave();
			worker.stop().catch(end);
		});
	}
}

module.exports = { n8n: { ready: [ready] } };
