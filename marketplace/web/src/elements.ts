// Elements of the page. Texts become text nodes; no HTML is ever parsed, and an address is a link only by `outside`.

export type Child = Node | string | null;

type Attribute =
  | "aria-describedby"
  | "aria-hidden"
  | "aria-label"
  | "aria-labelledby"
  | "aria-live"
  | "aria-current"
  | "class"
  | "datetime"
  | "dir"
  | "for"
  | "id"
  | "lang"
  | "list"
  | "maxlength"
  | "name"
  | "open"
  | "placeholder"
  | "role"
  | "scope"
  | "spellcheck"
  | "start"
  | "tabindex"
  | "type"
  | "value"
  | "webkitdirectory";

export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Partial<Record<Attribute, string>> = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** Returns a link to another view of this page. */
export function inside(address: string, ...children: readonly Child[]): HTMLAnchorElement {
  const made = el("a", {}, ...children);
  made.href = address.startsWith("/") && !address.startsWith("//") ? address : "/";
  return made;
}

/** Returns a link that a stranger wrote where it leads to the web, else its text alone. */
export function outside(address: string, ...children: readonly Child[]): HTMLElement {
  const url = URL.canParse(address) ? new URL(address) : null;
  if (url === null || !["http:", "https:"].includes(url.protocol)) {
    return el("span", {}, ...children);
  }
  const made = el("a", {}, ...children);
  made.href = url.href;
  made.rel = "noopener noreferrer nofollow ugc";
  made.title = url.href;
  return made;
}

export function agentPath(name: string, version?: string): string {
  const parts = [...name.split("/"), ...(version === undefined ? [] : [version])];
  return `/agents/${parts.map(encodeURIComponent).join("/")}`;
}

/** Returns a state of a version as a word that stands out. */
export function stateMark(state: string): HTMLElement {
  return el("span", { class: `state state-${/^[a-z]+$/.test(state) ? state : "unknown"}` }, state);
}

export function moment(at: string): HTMLElement {
  const shown = at.replace("T", " ").replace(/(\.\d+)?(\+00:00|Z)$/, " UTC");
  return el("time", { datetime: at }, shown);
}

/** Returns pairs of a term and what it is; pairs without a value are left out. */
export function facts(...pairs: readonly (readonly [string, Child | readonly Child[]])[]): HTMLElement {
  const shown = pairs.filter(([, value]) => value !== null && value !== "" && !isEmpty(value));
  return el(
    "dl",
    {},
    ...shown.map(([term, value]) =>
      el("div", {}, el("dt", {}, term), el("dd", {}, ...(Array.isArray(value) ? value : [value]))),
    ),
  );
}

function isEmpty(value: Child | readonly Child[]): boolean {
  return Array.isArray(value) && value.length === 0;
}

export function table(
  caption: string,
  heads: readonly string[],
  rows: readonly (readonly Child[])[],
): HTMLElement {
  const body = rows.map((row) => el("tr", {}, ...row.map((cell) => el("td", {}, cell))));
  const whole = el(
    "table",
    {},
    el("caption", {}, caption),
    el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { scope: "col" }, head)))),
    el("tbody", {}, ...body),
  );
  return el("div", { class: "wide", role: "region", "aria-label": caption, tabindex: "0" }, whole);
}

/** Returns text to take along, with a button that copies it where the browser lets pages do that. */
export function copied(label: string, content: string): HTMLElement {
  const code = el("pre", { tabindex: "0", role: "region", "aria-label": label }, el("code", {}, content));
  if (!window.isSecureContext) {
    return el("figure", {}, el("figcaption", {}, label), code);
  }
  const said = el("span", { role: "status" });
  const button = el("button", { type: "button", "aria-label": `Copy ${label}` }, "Copy");
  button.addEventListener("click", async () => {
    said.textContent = await navigator.clipboard.writeText(content).then(
      () => "copied",
      () => "the browser does not let this page copy",
    );
  });
  return el("figure", {}, el("figcaption", {}, label, button, said), code);
}

export function section(title: string, ...children: readonly Child[]): HTMLElement {
  const id = title.toLowerCase().replaceAll(/[^a-z]+/g, "-");
  return el("section", { "aria-labelledby": id }, el("h2", { id }, title), ...children);
}
