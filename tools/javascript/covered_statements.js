'use strict';
/**
 * `node covered_statements.js FOLDER FILE...`: prints, for each file of JavaScript, how many statements it has, how many
 * of them ran, and the lines of those that did not, as JSON. FOLDER holds what `measure_javascript.cjs` wrote.
 *
 * Statements are those of the syntax tree, as coverage of Python counts them: what converts V8's ranges to lines counts
 * comments and blank lines as covered, which is a third of these files. A statement ran when it did in any process.
 */

const fs = require('node:fs');
const path = require('node:path');
const ts = require('typescript');
const { pathToFileURL } = require('node:url');

/** @typedef {import('node:inspector').Profiler.ScriptCoverage} Script */
/** @typedef {import('node:inspector').Profiler.CoverageRange} Range */

/** @param {ts.Node} node @returns {boolean} Whether running it is an event: a block or a declaration is none. */
function isCounted(node) {
	if (ts.isArrowFunction(node.parent) && node.parent.body === node) return !ts.isBlock(node);
	if (!ts.isStatement(node) || ts.isBlock(node) || ts.isEmptyStatement(node)) return false;
	if (ts.isFunctionDeclaration(node) || ts.isClassDeclaration(node)) return false;
	return !(ts.isExpressionStatement(node) && ts.isStringLiteral(node.expression)); // 'use strict'
}

/** @param {ts.SourceFile} source @returns {number[]} Where each statement begins. */
function statementsOf(source) {
	/** @type {number[]} */
	const found = [];
	const visit = (/** @type {ts.Node} */ node) => {
		if (isCounted(node)) found.push(node.getStart(source));
		ts.forEachChild(node, visit);
	};
	ts.forEachChild(source, visit);
	return found;
}

/** @param {Range[]} ranges Of a script in one process. @param {number} at @returns {boolean} What the innermost says. */
function ran(ranges, at) {
	let inner = { startOffset: 0, endOffset: Infinity, count: 0 };
	for (const range of ranges) {
		const { startOffset, endOffset } = range;
		const around = startOffset <= at && at < endOffset;
		if (around && endOffset - startOffset <= inner.endOffset - inner.startOffset) inner = range;
	}
	return inner.count > 0;
}

/** @param {string} folder @returns {Map<string, Range[][]>} Ranges of each script by its address, for each process. */
function measured(folder) {
	/** @type {Map<string, Range[][]>} */
	const found = new Map();
	for (const name of fs.readdirSync(folder).filter((file) => file.endsWith('.json'))) {
		/** @type {Script[]} */
		const scripts = JSON.parse(fs.readFileSync(path.join(folder, name), 'utf8'));
		for (const { url, functions } of scripts) {
			const ranges = functions.flatMap((one) => one.ranges);
			found.set(url, [...(found.get(url) ?? []), ranges]);
		}
	}
	return found;
}

/** @param {string} file @param {Range[][]} processes */
function summary(file, processes) {
	const source = ts.createSourceFile(file, fs.readFileSync(file, 'utf8'), ts.ScriptTarget.Latest, true);
	const statements = statementsOf(source);
	const missed = statements.filter((at) => !processes.some((ranges) => ran(ranges, at)));
	const lines = missed.map((at) => source.getLineAndCharacterOfPosition(at).line + 1);
	return { statements: statements.length, covered: statements.length - missed.length, missing: [...new Set(lines)] };
}

const [folder, ...files] = process.argv.slice(2);
const processes = measured(folder);
const rows = files.map((file) => [file, summary(file, processes.get(pathToFileURL(file).href) ?? [])]);
console.log(JSON.stringify(Object.fromEntries(rows)));
