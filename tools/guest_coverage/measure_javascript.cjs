'use strict';
/**
 * Notes which JavaScript of ours a process of Node runs; `--require` loads it before anything else.
 *
 * COVERAGE_JAVASCRIPT is the folder that gets one file of JSON when the process ends: what V8 counted, of the scripts
 * below `runtimes/` only, since all of n8n would be tens of megabytes. Without it, as in n8n's task runner, nothing is
 * done. A process that is killed writes nothing.
 */

const fs = require('node:fs');
const inspector = require('node:inspector');
const path = require('node:path');
const { randomUUID } = require('node:crypto');
const { pathToFileURL } = require('node:url');
const { isMainThread } = require('node:worker_threads');

const OURS = pathToFileURL(path.join(__dirname, '..', '..', 'runtimes', path.sep)).href;

/** @param {string} folder */
function measure(folder) {
	const session = new inspector.Session();
	session.connect();
	session.post('Profiler.enable');
	session.post('Profiler.startPreciseCoverage', { callCount: false, detailed: true });
	process.once('exit', () => {
		session.post('Profiler.takePreciseCoverage', (error, taken) => {
			if (error) throw error;
			const scripts = taken.result.filter(({ url }) => url.startsWith(OURS));
			if (!scripts.length) return;
			const file = path.join(folder, randomUUID());
			fs.writeFileSync(file, JSON.stringify(scripts));
			fs.renameSync(file, `${file}.json`); // one that is killed meanwhile leaves no half of a report
		});
	});
}

const folder = process.env.COVERAGE_JAVASCRIPT;
if (folder && isMainThread) measure(folder);
