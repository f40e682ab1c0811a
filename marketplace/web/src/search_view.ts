// Agents that are public, found by words and facts, in pages.

import { type Listing, search } from "./api";
import { agentPath, type Child, el, inside, stateMark } from "./elements";
import { text } from "./json";
import { price, stars } from "./offers";
import type { View } from "./views";

const FIELDS = [
  ["text", "Words", "search", "in name, summary or documentation"],
  ["framework", "Framework", "text", "such as langgraph"],
  ["licence", "Licence", "text", "SPDX, such as Apache-2.0"],
  ["publisher", "Publisher", "text", "such as acme"],
] as const;
const FRAMEWORKS = ["agentscope", "agno", "crewai", "langgraph", "lightagent", "n8n"];

export async function searchView(
  asked: URLSearchParams,
  signal: AbortSignal,
  go: (to: string) => void,
): Promise<View> {
  const query = new URLSearchParams();
  for (const name of [...FIELDS.map(([field]) => field), "after"]) {
    const value = asked.get(name)?.trim();
    if (value) {
      query.set(name, value);
    }
  }
  const page = await search(query, signal);
  const next = new URLSearchParams(query);
  next.set("after", page.after ?? "");
  const first = new URLSearchParams(query);
  first.delete("after");
  const count = page.listings.length;
  const more = page.after !== null || query.has("after");
  return {
    title: query.get("text") ?? "Agents",
    content: [
      el("h1", { tabindex: "-1" }, "Agents"),
      form(query, go),
      el(
        "p",
        { role: "status" },
        count === 0
          ? "Nothing is found."
          : `${count} ${count === 1 ? "agent" : "agents"}${more ? " on this page" : ""}`,
      ),
      el("ol", { class: "results" }, ...page.listings.map(result)),
      el(
        "nav",
        { "aria-label": "Pages of results" },
        query.has("after") ? inside(`/?${first}`, "First page") : null,
        page.after === null ? null : inside(`/?${next}`, "Next page"),
      ),
    ],
  };
}

function form(query: URLSearchParams, go: (to: string) => void): HTMLElement {
  const fields = FIELDS.map(([name, label, type, hint]) => {
    const id = `find-${name}`;
    const list: Record<string, string> = name === "framework" ? { list: "frameworks" } : {};
    const input = el("input", {
      id,
      name,
      type,
      value: query.get(name) ?? "",
      maxlength: "200",
      spellcheck: "false",
      placeholder: hint,
      ...list,
    });
    return el("div", { class: "field" }, el("label", { for: id }, label), input);
  });
  const known = el("datalist", { id: "frameworks" }, ...FRAMEWORKS.map((value) => el("option", { value })));
  const made = el(
    "form",
    { role: "search", "aria-label": "Find agents" },
    ...fields,
    known,
    el("button", { type: "submit" }, "Search"),
  );
  made.addEventListener("submit", (event) => {
    event.preventDefault();
    const wanted = new URLSearchParams();
    for (const [name, value] of new FormData(made)) {
      if (typeof value === "string" && value.trim() !== "") {
        wanted.set(name, value.trim());
      }
    }
    go(`/?${wanted}`);
  });
  return made;
}

function result(one: Listing): HTMLElement {
  const told: Child[] = [text(one.manifest.framework), text(one.manifest.licence), price(one), stars(one)];
  return el(
    "li",
    {},
    el(
      "h2",
      {},
      inside(agentPath(one.name), one.name),
      " ",
      el("small", {}, one.version),
      " ",
      stateMark(one.state),
    ),
    el("p", { dir: "auto" }, text(one.manifest.summary)),
    el(
      "p",
      { class: "told" },
      ...told.filter((child) => child !== "" && child !== null).map((child) => el("span", {}, child)),
    ),
  );
}
