'use strict';
/** Answers each line of standard input, a schema and a value, with the reason why they do not match, or null. */

const { mismatch } = require('../../../../runtimes/n8n/orchestrator_n8n/guest/schemas');

let text = '';
process.stdin.setEncoding('utf8');
process.stdin.on('data', (data) => {
	const lines = (text + data).split('\n');
	text = lines.pop() ?? '';
	for (const line of lines) {
		const [schema, value] = JSON.parse(line);
		process.stdout.write(`${JSON.stringify(mismatch(schema, value))}\n`);
	}
});
