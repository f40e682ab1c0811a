// Documentation of strangers. A worker reads it into tokens; here they become elements of a few kinds, without HTML,
// pictures or scripts. What cannot be read in time is shown as it was written.

import type { Token, Tokens } from "marked";
import { type Child, el, outside } from "./elements";

const WORKER = "/page/markdown.js";
const PATIENCE_MS = 3_000;
const DEEPEST = 30;
const ENTITIES: Readonly<Record<string, string>> = {
  amp: "&",
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
  nbsp: "\u00a0",
};

const worker = policy();

export async function markdown(source: string, signal: AbortSignal): Promise<HTMLElement> {
  const tokens = await read(source, signal);
  if (tokens === null) {
    return el(
      "pre",
      { class: "document", tabindex: "0", role: "region", "aria-label": "Documentation, as it was written" },
      source,
    );
  }
  return el("div", { class: "document", dir: "auto" }, ...blocks(tokens, 0));
}

function read(source: string, signal: AbortSignal): Promise<readonly Token[] | null> {
  return new Promise((resolve) => {
    const reader = new Worker(worker);
    const end = (tokens: readonly Token[] | null): void => {
      reader.terminate();
      clearTimeout(timer);
      resolve(tokens);
    };
    const timer = setTimeout(() => end(null), PATIENCE_MS);
    signal.addEventListener("abort", () => end(null), { once: true });
    reader.addEventListener("message", (message: MessageEvent<readonly Token[] | null>) => end(message.data));
    reader.addEventListener("error", () => end(null));
    reader.postMessage(source);
  });
}

function policy(): string {
  const rules = {
    createScriptURL(url: string): string {
      if (url !== WORKER) {
        throw new TypeError("the page runs no other script");
      }
      return url;
    },
  };
  return window.trustedTypes?.createPolicy("worker", rules).createScriptURL(WORKER) ?? WORKER;
}

function blocks(tokens: readonly Token[] | undefined, depth: number): Child[] {
  return (tokens ?? []).map((token) => block(token, depth + 1));
}

function block(token: Token, depth: number): Child {
  if (depth > DEEPEST) {
    return token.raw;
  }
  switch (token.type) {
    case "space":
    case "def":
      return null;
    case "heading":
      return heading(token as Tokens.Heading, depth);
    case "paragraph":
      return el("p", {}, ...inlines(token.tokens, depth));
    case "blockquote":
      return el("blockquote", {}, ...blocks(token.tokens, depth));
    case "code":
      return el("pre", { tabindex: "0" }, el("code", {}, token.text));
    case "hr":
      return el("hr");
    case "list":
      return list(token as Tokens.List, depth);
    case "table":
      return tableOf(token as Tokens.Table, depth);
    default:
      return inline(token, depth);
  }
}

/** The page has the first two levels for itself. */
function heading(token: Tokens.Heading, depth: number): HTMLElement {
  const level = Math.min(Math.max(token.depth, 1) + 2, 6) as 3 | 4 | 5 | 6;
  return el(`h${level}`, {}, ...inlines(token.tokens, depth));
}

function list(token: Tokens.List, depth: number): HTMLElement {
  const items = token.items.map((item) =>
    el("li", {}, item.task ? (item.checked ? "☑ " : "☐ ") : null, ...blocks(item.tokens, depth)),
  );
  return token.ordered ? el("ol", { start: String(token.start || 1) }, ...items) : el("ul", {}, ...items);
}

function tableOf(token: Tokens.Table, depth: number): HTMLElement {
  const cells = (tag: "td" | "th", row: readonly Tokens.TableCell[]): HTMLElement =>
    el("tr", {}, ...row.map((cell) => el(tag, {}, ...inlines(cell.tokens, depth))));
  return el(
    "table",
    {},
    el("thead", {}, cells("th", token.header)),
    el("tbody", {}, ...token.rows.map((row) => cells("td", row))),
  );
}

function inlines(tokens: readonly Token[] | undefined, depth: number): Child[] {
  return (tokens ?? []).map((token) => inline(token, depth + 1));
}

function inline(token: Token, depth: number): Child {
  if (depth > DEEPEST) {
    return token.raw;
  }
  switch (token.type) {
    case "strong":
    case "em":
    case "del":
      return el(token.type, {}, ...inlines(token.tokens, depth));
    case "codespan":
      return el("code", {}, token.text);
    case "br":
      return el("br");
    case "link":
      return outside(token.href, ...inlines(token.tokens, depth));
    case "image":
      return outside(token.href, `[picture: ${plain(token.text) || token.href}]`);
    case "escape":
      return token.text;
    case "checkbox":
      return null; // told by its item
    case "text":
      return token.tokens ? el("span", {}, ...inlines(token.tokens, depth)) : plain(token.text);
    default:
      return token.raw; // HTML, which is shown and never parsed
  }
}

function plain(source: string): string {
  return source.replaceAll(
    /&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z]{2,4}));/gi,
    (whole, decimal, hexadecimal, name) => {
      if (name !== undefined) {
        return ENTITIES[name] ?? whole;
      }
      const point = decimal === undefined ? Number.parseInt(hexadecimal, 16) : Number(decimal);
      return point > 0 && point <= 0x10ffff ? String.fromCodePoint(point) : whole;
    },
  );
}
