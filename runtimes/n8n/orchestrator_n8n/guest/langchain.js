'use strict';
/** The LangChain that n8n's own nodes use: a second copy would make objects that they do not know. */

/** @param {string} name Of a module. @returns {any} */
function langchain(name) {
	const nodes = require.resolve('@n8n/n8n-nodes-langchain/package.json', { paths: [String(process.env.N8N_APP)] });
	return require(require.resolve(name, { paths: [nodes] }));
}

module.exports = { langchain };
