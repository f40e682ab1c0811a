// The way of a bundle to the marketplace, step by step. Keys stay where they are: the page tells the commands that sign.

import { keys, type Listing, place, Refused, version } from "./api";
import { agentPath, type Child, copied, el, inside, stateMark } from "./elements";
import { chosen, dropped } from "./folders";
import { text } from "./json";
import { type Folder, inspect, type Report } from "./layouts";
import { commandsOf, type Submission } from "./snippets";
import type { View } from "./views";

const LOOK_MS = 2_000;
const NAME = /^[a-z][a-z0-9]*(?:-[a-z0-9]+)*\/[a-z][a-z0-9]*(?:-[a-z0-9]+)*$/;
const VERSION = /^\d{1,9}\.\d{1,9}\.\d{1,9}(?:(?:a|b|rc)\d{1,9})?$/;
const REFERENCE =
  /^(?:oci:\/\/)?([\w.[\]:-]+(?:\/[\w.-]+)*)\/([a-z][a-z0-9-]*\/[a-z][a-z0-9-]*):([\w.-]+?)(?:@sha256:[0-9a-f]{64})?$/;
const WAY: readonly string[] = ["checks", "review", "published"];

export async function publishView(query: URLSearchParams, signal: AbortSignal): Promise<View> {
  const here = await place(signal);
  const wizard = new Wizard(here.registries, query, signal);
  return {
    title: "Publish an agent",
    content: [
      el("h1", { tabindex: "-1" }, "Publish an agent"),
      el(
        "p",
        { class: "summary" },
        `At ${here.name}, from a built bundle to its review. Your keys stay with you: this page signs nothing.`,
      ),
      wizard.element,
    ],
  };
}

class Wizard {
  readonly element: HTMLElement;
  private readonly report = el("div", { role: "status" });
  private readonly commands = el("div");
  private readonly registered = el("div", { role: "status" });
  private readonly progress = el("div", { role: "status" });
  private readonly fields: Readonly<
    Record<"name" | "version" | "registry" | "layout" | "key", HTMLInputElement>
  >;
  private following = new AbortController();

  constructor(
    private readonly registries: readonly string[],
    query: URLSearchParams,
    signal: AbortSignal,
  ) {
    this.fields = {
      name: field("name", query.get("name") ?? "", "acme/clock"),
      version: field("version", query.get("version") ?? "", "0.1.0"),
      registry: field("registry", registries[0] ?? "", "registry.example/agents"),
      layout: field("layout", "dist", "dist"),
      key: field("key", "publisher.key", "publisher.key"),
    };
    this.element = el(
      "ol",
      { class: "steps" },
      this.needs(),
      this.check(),
      this.name(),
      this.step("Register once, sign, push, submit", this.registered, this.commands),
      this.step("Follow it", this.progress),
    );
    signal.addEventListener("abort", () => this.following.abort());
    this.told();
  }

  private step(title: string, ...children: readonly Child[]): HTMLElement {
    return el("li", {}, el("h2", {}, title), ...children);
  }

  private needs(): HTMLElement {
    return this.step(
      "Have a bundle and a key",
      el(
        "p",
        {},
        "A bundle is a folder with bundle.yaml, agent/, README.md and evaluation.jsonl; it is built once, the same bytes anywhere.",
      ),
      copied(
        "commands that begin and build one",
        "orchestrator bundle init acme/clock\norchestrator bundle build clock\norchestrator bundle key acme.key",
      ),
      el(
        "p",
        {},
        "Bundles are taken from ",
        ...this.registries.flatMap((one, place): Child[] => [place > 0 ? ", " : null, el("code", {}, one)]),
        ".",
      ),
    );
  }

  private check(): HTMLElement {
    const input = el("input", { type: "file", id: "layout-files", webkitdirectory: "" });
    const zone = el(
      "div",
      { class: "drop" },
      el("label", { for: "layout-files" }, "The folder that was built, dist: choose it, or drag it here"),
      input,
    );
    input.addEventListener("change", () => void this.look(Promise.resolve(chosen(input.files ?? []))));
    zone.addEventListener("dragover", (event) => event.preventDefault());
    zone.addEventListener("drop", (event) => {
      event.preventDefault();
      void this.look(dropped(event.dataTransfer?.items ?? []));
    });
    const step = this.step(
      "Check it here",
      el("p", {}, "Nothing of it leaves this browser."),
      zone,
      this.report,
    );
    return step;
  }

  private name(): HTMLElement {
    const address = field("address", "", "registry.example/agents/acme/clock:0.1.0");
    address.addEventListener("input", () => {
      const [, registry, name, number] = REFERENCE.exec(address.value.trim()) ?? [];
      if (registry !== undefined && name !== undefined && number !== undefined) {
        this.fields.registry.value = registry;
        this.fields.name.value = name;
        this.fields.version.value = number;
        this.told();
      }
    });
    const labels = {
      name: "Name, publisher/agent",
      version: "Version",
      registry: "Registry",
      layout: "Folder of the built bundle",
      key: "File of your key",
    };
    const inputs = Object.entries(labels).map(([name, label]) => {
      const input = this.fields[name as keyof typeof labels];
      input.addEventListener("input", () => this.told());
      return labelled(input, label);
    });
    return this.step(
      "Say what it is",
      el("p", {}, "The check fills this in; so does the address of a bundle that was pushed before."),
      el("div", { class: "fields" }, labelled(address, "Address"), ...inputs),
    );
  }

  private async look(folder: Promise<Folder>): Promise<void> {
    this.report.replaceChildren(el("p", {}, "Looking at it…"));
    const found = await folder.then(inspect).catch(
      (error: unknown): Report => ({
        findings: [{ good: false, line: `the folder cannot be read: ${error}` }],
        manifest: null,
        digest: "",
      }),
    );
    const lines = found.findings.map((one) =>
      el(
        "li",
        { class: one.good ? "good" : "bad" },
        el("span", {}, one.good ? "good: " : "not yet: "),
        one.line,
      ),
    );
    this.report.replaceChildren(el("ul", { class: "findings" }, ...lines));
    if (found.manifest !== null) {
      this.fields.name.value = text(found.manifest.name);
      this.fields.version.value = text(found.manifest.version);
      this.told();
    }
  }

  private told(): void {
    this.following.abort();
    this.following = new AbortController();
    const given: Submission = {
      name: this.value("name"),
      version: this.value("version"),
      registry: this.value("registry"),
      layout: this.value("layout"),
      key: this.value("key"),
    };
    if (!NAME.test(given.name) || !VERSION.test(given.version)) {
      this.commands.replaceChildren(el("p", {}, "The commands stand here when name and version are known."));
      this.registered.replaceChildren();
      this.progress.replaceChildren(el("p", {}, "What the marketplace does with it stands here then."));
      return;
    }
    history.replaceState(
      null,
      "",
      `/publish?${new URLSearchParams({ name: given.name, version: given.version })}`,
    );
    const commands = commandsOf(given, location.origin);
    this.commands.replaceChildren(
      this.registries.some(
        (one) => given.registry === one || given.registry.startsWith(`${one.replace(/\/$/, "")}/`),
      )
        ? ""
        : el(
            "p",
            { role: "alert" },
            `Bundles are taken from ${this.registries.join(", ")}: this registry is none of them.`,
          ),
      copied(
        "commands that sign, push and submit it",
        `${commands.sign}\n${commands.push}\n${commands.submit}`,
      ),
    );
    void this.askKeys(given, this.following.signal);
    void this.follow(given, this.following.signal);
  }

  private value(name: keyof Wizard["fields"]): string {
    return this.fields[name].value.trim();
  }

  private async askKeys(given: Submission, signal: AbortSignal): Promise<void> {
    const [publisher = ""] = given.name.split("/");
    try {
      const known = await keys(publisher, signal);
      this.registered.replaceChildren(
        known === null
          ? el(
              "div",
              {},
              el(
                "p",
                {},
                `The publisher ${publisher} is not registered. Give an operator your public key, who then says:`,
              ),
              copied(
                "command of the operator",
                `orchestrator marketplace register ${publisher} ${given.key}.pub --key operator.key --at ${location.origin}`,
              ),
            )
          : el(
              "p",
              {},
              `The publisher ${publisher} is registered, with ${known.length} ${known.length === 1 ? "key" : "keys"}.`,
            ),
      );
    } catch (error) {
      if (!signal.aborted) {
        this.registered.replaceChildren(
          el("p", { role: "alert" }, error instanceof Error ? error.message : String(error)),
        );
      }
    }
  }

  /** Looks every two seconds, and less often while the marketplace does not answer. */
  private async follow(given: Submission, signal: AbortSignal): Promise<void> {
    let shown = "";
    for (let pause = LOOK_MS; !signal.aborted; await sleep(pause, signal)) {
      const [key, content] = await version(given.name, given.version, signal).then(
        (listing): readonly [string, Child[]] => [JSON.stringify(listing.whole), state(listing)],
        (error: unknown): readonly [string, Child[]] => unknown(error),
      );
      pause = key === "" ? Math.min(pause * 2, 16 * LOOK_MS) : LOOK_MS;
      if (!signal.aborted && key !== shown) {
        shown = key;
        this.progress.replaceChildren(...content.filter((child) => child !== null));
      }
    }
  }
}

function unknown(error: unknown): readonly [string, Child[]] {
  if (error instanceof Refused && error.status === 404) {
    return ["none", [el("p", {}, "It was not submitted yet.")]];
  }
  return ["", [el("p", { role: "alert" }, error instanceof Error ? error.message : String(error))]];
}

function state(listing: Listing): Child[] {
  const reached = WAY.indexOf(listing.state);
  const steps = WAY.map((one, place) => {
    const current: Record<string, string> = place === reached ? { "aria-current": "step" } : {};
    return el("li", { class: place < reached ? "done" : "open", ...current }, one);
  });
  return [
    el(
      "p",
      {},
      `${listing.name} ${listing.version} is `,
      stateMark(listing.state),
      `: ${MEANINGS[listing.state] ?? ""}`,
    ),
    reached < 0 ? null : el("ol", { class: "way" }, ...steps),
    listing.reason === null ? null : el("p", { class: "notice", dir: "auto" }, listing.reason),
    listing.findings.length === 0
      ? null
      : el("ul", {}, ...listing.findings.map((line) => el("li", { dir: "auto" }, line))),
    el("p", {}, inside(agentPath(listing.name, listing.version), "Its page")),
  ];
}

const MEANINGS: Readonly<Record<string, string>> = {
  draft: "it came back, and may be submitted again, with other bytes if need be.",
  checks: "the marketplace fetches and checks it.",
  review: "it passed the checks, and an operator looks at it.",
  published: "everybody can have it.",
  deprecated: "it is still to be had, and not to be begun with.",
  withdrawn: "it is not to be had any more; its version is used up.",
};

function field(name: string, value: string, hint: string): HTMLInputElement {
  return el("input", {
    id: `publish-${name}`,
    name,
    type: "text",
    value,
    placeholder: hint,
    maxlength: "512",
    spellcheck: "false",
  });
}

function labelled(input: HTMLInputElement, label: string): HTMLElement {
  return el("div", { class: "field" }, el("label", { for: input.id }, label), input);
}

function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
}
