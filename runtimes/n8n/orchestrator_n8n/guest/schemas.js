'use strict';
/**
 * Checking values against JSON Schema: the subset that `orchestrator_runtimes.output_schemas` holds every framework to,
 * which is also all that the contract's own schema uses.
 */

const DEPTH = 50;
const SHOWN = 100;

/** @typedef {Record<string, any>} Schema */

/** @type {Record<string, (value: unknown) => boolean>} */
const TYPES = {
	object: isObject,
	array: Array.isArray,
	string: (value) => typeof value === 'string',
	integer: Number.isInteger,
	number: (value) => typeof value === 'number',
	boolean: (value) => typeof value === 'boolean',
	null: (value) => value === null,
};

/** @param {unknown} kind @returns {boolean} */
function isType(kind) {
	return typeof kind === 'string' && Object.hasOwn(TYPES, kind);
}

/** @param {unknown} value @returns {value is Record<string, any>} */
function isObject(value) {
	return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Return the first reason why `value` does not match `schema`; null when it does.
 *
 * @param {Schema | boolean} schema Keywords outside the subset do not count.
 * @param {unknown} value Any JSON.
 * @param {{where?: string, root?: Schema}} [options] `where` names the value; `root` is what references start from.
 * @returns {string | null}
 */
function mismatch(schema, value, { where = 'output', root } = {}) {
	return check(schema, value, where, root ?? (isObject(schema) ? schema : {}), 0);
}

/**
 * @param {unknown} node @param {any} value @param {string} place @param {Schema} root @param {number} depth
 * @returns {string | null}
 */
function check(node, value, place, root, depth) {
	if (!isObject(node)) return node === false ? `${place}: not allowed` : null;
	if (depth > DEPTH) return `${place}: nested too deeply`;
	const target = resolve(root, node.$ref);
	const referred = target === undefined ? null : check(target, value, place, root, depth + 1);
	if (referred !== null) return referred;
	const kinds = typeof node.type === 'string' ? [node.type] : list(node.type);
	if (kinds.length && kinds.every(isType) && !kinds.some((kind) => TYPES[kind](value))) {
		return `${place}: expected ${kinds.join(' or ')}, got ${short(value)}`;
	}
	if ('enum' in node && !list(node.enum).some((choice) => same(value, choice))) {
		return `${place}: expected one of ${short(node.enum)}, got ${short(value)}`;
	}
	if ('const' in node && !same(value, node.const)) {
		return `${place}: expected ${short(node.const)}, got ${short(value)}`;
	}
	const reasons = list(node.anyOf).map((choice) => check(choice, value, place, root, depth + 1));
	if (reasons.length && !reasons.includes(null)) {
		return `${place}: matches none of the alternatives (${reasons[0]})`;
	}
	return bounds(node, value, place) ?? children(node, value, place, root, depth);
}

/** @param {Schema} node @param {any} value @param {string} place @returns {string | null} */
function bounds(node, value, place) {
	let size;
	let [low, high] = ['minimum', 'maximum'];
	if (typeof value === 'string') [size, low, high] = [[...value].length, 'minLength', 'maxLength'];
	else if (Array.isArray(value)) [size, low, high] = [value.length, 'minItems', 'maxItems'];
	else if (typeof value === 'number') size = value;
	if (size === undefined) return null;
	if (typeof node[low] === 'number' && size < node[low]) return `${place}: ${low} is ${node[low]}, got ${size}`;
	if (typeof node[high] === 'number' && size > node[high]) return `${place}: ${high} is ${node[high]}, got ${size}`;
	return null;
}

/**
 * @param {Schema} node @param {any} value @param {string} place @param {Schema} root @param {number} depth
 * @returns {string | null}
 */
function children(node, value, place, root, depth) {
	if (isObject(value)) {
		const missing = list(node.required).find((name) => typeof name === 'string' && !Object.hasOwn(value, name));
		if (missing !== undefined) return `${place}: '${missing}' is missing`;
		const properties = isObject(node.properties) ? node.properties : {};
		for (const [name, item] of Object.entries(value)) {
			const child = Object.hasOwn(properties, name) ? properties[name] : (node.additionalProperties ?? true);
			const reason = check(child, item, `${place}.${name}`, root, depth + 1);
			if (reason !== null) return reason;
		}
	} else if (Array.isArray(value) && 'items' in node) {
		for (const [number, item] of value.entries()) {
			const reason = check(node.items, item, `${place}[${number}]`, root, depth + 1);
			if (reason !== null) return reason;
		}
	}
	return null;
}

/** @param {Schema} root @param {unknown} reference @returns {unknown} What it names; undefined when it names nothing. */
function resolve(root, reference) {
	if (typeof reference !== 'string' || !(reference === '#' || reference.startsWith('#/'))) return undefined;
	let node = /** @type {unknown} */ (root);
	for (const part of reference.split('/').slice(1)) {
		const key = part.replaceAll('~1', '/').replaceAll('~0', '~');
		node = isObject(node) && Object.hasOwn(node, key) ? node[key] : undefined;
	}
	return node;
}

/** @param {unknown} one @param {unknown} other @returns {boolean} Whether they are the same JSON. */
function same(one, other) {
	if (Array.isArray(one)) {
		return Array.isArray(other) && one.length === other.length && one.every((item, at) => same(item, other[at]));
	}
	if (isObject(one)) {
		if (!isObject(other) || Object.keys(one).length !== Object.keys(other).length) return false;
		return Object.entries(one).every(([key, item]) => Object.hasOwn(other, key) && same(item, other[key]));
	}
	return one === other;
}

/** @param {unknown} value @returns {any[]} */
function list(value) {
	return Array.isArray(value) ? value : [];
}

/** @param {unknown} value @returns {string} */
function short(value) {
	return String(JSON.stringify(value)).slice(0, SHOWN);
}

module.exports = { isObject, list, mismatch };
