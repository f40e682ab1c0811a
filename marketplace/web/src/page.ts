// One page: an address leads to a view, and links between views load nothing but what the view shows.

import { agentView } from "./agent_view";
import { Refused } from "./api";
import { el } from "./elements";
import { publishView } from "./publish_view";
import { searchView } from "./search_view";
import type { View } from "./views";

let shown = new AbortController();

function find(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (found === null) {
    throw new Error(`the page has no ${id}`);
  }
  return found;
}

function go(to: string): void {
  history.pushState(null, "", to);
  void show(true);
}

async function viewOf(location: Location, signal: AbortSignal): Promise<View> {
  const [, first = "", publisher, agent, version] = location.pathname.split("/").map(decoded);
  const asked = new URLSearchParams(location.search);
  if (first === "") {
    return searchView(asked, signal, go);
  }
  if (first === "publish") {
    return publishView(asked, signal);
  }
  if (first === "agents" && publisher && agent) {
    return agentView(`${publisher}/${agent}`, version, signal);
  }
  throw new Refused(404, "There is no such page.");
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

async function show(moved: boolean): Promise<void> {
  shown.abort();
  const mine = new AbortController();
  shown = mine;
  const main = find("main");
  main.setAttribute("aria-busy", "true");
  const view = await viewOf(location, mine.signal).catch((error: unknown): View => refusal(error));
  if (mine.signal.aborted) {
    return;
  }
  document.title = `${view.title} · Marketplace of agents`;
  main.replaceChildren(...view.content.filter((child) => child !== null));
  main.removeAttribute("aria-busy");
  for (const link of document.querySelectorAll<HTMLAnchorElement>("header nav a")) {
    const here = link.pathname === location.pathname;
    if (here) {
      link.setAttribute("aria-current", "page");
    } else {
      link.removeAttribute("aria-current");
    }
  }
  if (moved) {
    window.scrollTo(0, 0);
    main.querySelector<HTMLElement>("h1")?.focus();
  }
}

function refusal(error: unknown): View {
  const known = error instanceof Refused;
  const title = known && error.status === 404 ? "Not found" : "This did not work";
  const again = el("button", { type: "button" }, "Try again");
  again.addEventListener("click", () => void show(true));
  const said = error instanceof Error ? error.message : String(error);
  return { title, content: [el("h1", { tabindex: "-1" }, title), el("p", { role: "alert" }, said), again] };
}

document.addEventListener("click", (event) => {
  const link = event.target instanceof Element ? event.target.closest("a") : null;
  const plain = event.button === 0 && !(event.metaKey || event.ctrlKey || event.shiftKey || event.altKey);
  if (
    link === null ||
    !plain ||
    link.origin !== location.origin ||
    link.hash !== "" ||
    event.defaultPrevented
  ) {
    return;
  }
  event.preventDefault();
  go(link.pathname + link.search);
});
window.addEventListener("popstate", () => void show(true));
void show(false);
