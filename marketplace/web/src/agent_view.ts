// One agent: what it is, what it asks for, what was seen of it, what happened to it, how to run it.

import { type Event, evidence, history, keys, type Listing, ratings, version, versions } from "./api";
import {
  agentPath,
  type Child,
  copied,
  el,
  facts,
  inside,
  moment,
  outside,
  section,
  stateMark,
  table,
} from "./elements";
import { type JsonObject, numberOrNull, object, objects, text, textOrNull, texts } from "./json";
import { fingerprint } from "./keys";
import { markdown } from "./markdown";
import { price, ratingTable, stars, terms } from "./offers";
import { asked, assetOf, keyFile, trustOf } from "./snippets";
import { usage } from "./usage";
import type { View } from "./views";

const MOST_ROWS = 1_000;
const MOST_MEASURES = 50;

export async function agentView(
  name: string,
  wanted: string | undefined,
  signal: AbortSignal,
): Promise<View> {
  const [publisher = ""] = name.split("/");
  const publics = await versions(name, signal).catch((error: unknown) => {
    if (wanted === undefined) {
      throw error;
    }
    return []; // a version that was never public has a page for its publisher
  });
  const listing = wanted === undefined ? publics[0] : await version(name, wanted, signal);
  if (listing === undefined) {
    throw new Error(`${name} has no version`);
  }
  const [seen, told, signers, documentation, rated, used] = await Promise.all([
    evidence(name, listing.version, signal),
    history(name, signal),
    keys(publisher, signal),
    markdown(listing.documentation, signal),
    ratings(name, signal),
    usage(publisher, signal),
  ]);
  const trusted = await publisherKeys(signers ?? [], publisher);
  return {
    title: `${name} ${listing.version}`,
    content: [
      heading(listing),
      notice(listing),
      overview(listing),
      isPublic(listing) ? install(listing, signers?.length ?? 0) : null,
      listing.documentation === "" ? null : section("Documentation", documentation),
      requests(listing.manifest),
      seen === null ? null : signature(seen, listing),
      trusted,
      checks(listing, seen),
      terms(listing),
      ratingTable(rated),
      used,
      lineage(publics, listing, told),
    ],
  };
}

function isPublic(listing: Listing): boolean {
  return ["published", "deprecated"].includes(listing.state);
}

function heading(listing: Listing): HTMLElement {
  return el(
    "div",
    {},
    el(
      "h1",
      { tabindex: "-1" },
      listing.name,
      " ",
      el("small", {}, listing.version),
      " ",
      stateMark(listing.state),
    ),
    el("p", { class: "summary", dir: "auto" }, text(listing.manifest.summary)),
  );
}

function notice(listing: Listing): Child {
  if (listing.reason === null && listing.replacement === null) {
    return null;
  }
  return el(
    "div",
    { class: "notice", role: "note" },
    listing.reason === null ? null : el("p", { dir: "auto" }, listing.reason),
    listing.replacement === null ? null : el("p", {}, "Take instead: ", agentLink(listing.replacement)),
  );
}

/** Returns a link where a text is a name of an agent, else the text. */
function agentLink(name: string): Child {
  return /^[a-z][a-z0-9-]{0,39}\/[a-z][a-z0-9-]{0,39}$/.test(name) ? inside(agentPath(name), name) : name;
}

function overview(listing: Listing): HTMLElement {
  const manifest = listing.manifest;
  const [publisher = ""] = listing.name.split("/");
  const needs = object(manifest.resources);
  return section(
    "What it is",
    facts(
      ["Publisher", inside(`/?publisher=${encodeURIComponent(publisher)}`, publisher)],
      ["Framework", text(manifest.framework)],
      ["Licence", text(manifest.licence)],
      ["Price", price(listing)],
      ["Rating", stars(listing)],
      [
        "Entrypoint",
        textOrNull(manifest.entrypoint) ?? (manifest.portable ? "portable: any framework can build it" : ""),
      ],
      ["Models", texts(manifest.models).join(", ")],
      ["Memory", sized(numberOrNull(needs.memory_mb), "MiB")],
      ["GPUs", sized(numberOrNull(needs.gpus) || null, "")],
      ["GPU memory", sized(numberOrNull(needs.gpu_memory_mb), "MiB each")],
      ["State since", listing.changed === "" ? null : moment(listing.changed)],
      ["Bundle", el("code", {}, listing.reference)],
    ),
  );
}

function sized(value: number | null, unit: string): string {
  return value === null ? "" : `${value} ${unit}`.trim();
}

function install(listing: Listing, signers: number): HTMLElement {
  const [publisher = ""] = listing.name.split("/");
  return section(
    "Run it",
    el(
      "p",
      {},
      "Two files make it an asset: its sensor takes each version that is published, verifies it and runs it once.",
    ),
    copied("defs.yaml", assetOf(listing.name, listing.version, listing.manifest, location.origin)),
    signers === 0 ? null : copied("trust.yaml", trustOf(publisher, signers)),
  );
}

function requests(manifest: JsonObject): HTMLElement {
  const permissions = asked(manifest);
  const tools = objects(manifest.tools).map((tool) => [
    el("code", {}, text(tool.name)),
    el("span", { dir: "auto" }, text(tool.description)),
    tool.effects === true ? "changes something" : "reads",
  ]);
  return section(
    "What it asks for",
    permissions.length === 0
      ? el("p", {}, "No permissions: models behind the gateway are all that it reaches.")
      : el("ul", {}, ...permissions.map((one) => el("li", {}, el("code", {}, one)))),
    tools.length === 0 ? null : table("Tools", ["Tool", "What it does", "Effects"], tools),
    schema("Inputs", manifest.inputs),
    schema("Output", manifest.output),
  );
}

function schema(title: string, value: JsonObject[string]): Child {
  if (value === undefined || value === null) {
    return null;
  }
  return el(
    "details",
    {},
    el("summary", {}, `${title}, as JSON Schema`),
    el(
      "pre",
      { tabindex: "0", role: "region", "aria-label": title },
      el("code", {}, JSON.stringify(value, null, 2)),
    ),
  );
}

function signature(seen: JsonObject, listing: Listing): HTMLElement {
  const build = object(object(seen.provenance).buildDefinition);
  const details = object(object(seen.provenance).runDetails);
  const sources = objects(build.resolvedDependencies).filter((one) => text(one.uri) !== "");
  const other = text(seen.digest) !== listing.digest;
  return section(
    "Signature and provenance",
    other
      ? el(
          "p",
          { role: "note" },
          "This was seen of other bytes of this version, which were submitted before.",
        )
      : null,
    facts(
      ["Signed by", text(seen.publisher)],
      ["Signed", textOrNull(seen.signed) === null ? null : moment(text(seen.signed))],
      ["Holds until", textOrNull(seen.expires) === null ? "without end" : moment(text(seen.expires))],
      ["Digest", el("code", {}, text(seen.digest))],
      [
        "Built",
        textOrNull(object(details.metadata).finishedOn) === null
          ? null
          : moment(text(object(details.metadata).finishedOn)),
      ],
      ["Build", el("code", {}, text(build.buildType))],
      [
        "Source",
        sources.map((one) =>
          el(
            "div",
            {},
            outside(text(one.uri), text(one.uri)),
            " ",
            el("code", {}, text(object(one.digest).gitCommit)),
          ),
        ),
      ],
    ),
    el(
      "p",
      { class: "told" },
      "Who signed is verified by the marketplace; how it was built is what its publisher says.",
    ),
  );
}

async function publisherKeys(signers: readonly string[], publisher: string): Promise<Child> {
  if (signers.length === 0) {
    return null;
  }
  const shown = await Promise.all(
    signers.map(async (pem, number) => {
      const print = await fingerprint(pem);
      return el(
        "div",
        {},
        print === null ? null : el("p", {}, "SHA-256 ", el("code", {}, print)),
        copied(keyFile(publisher, number), pem),
      );
    }),
  );
  return section(
    "Keys of the publisher",
    el("p", {}, "Compare them with what the publisher tells elsewhere before you trust them."),
    ...shown,
  );
}

function checks(listing: Listing, seen: JsonObject | null): HTMLElement {
  const packages = objects(seen?.packages).map((one) => [
    text(one.ecosystem),
    text(one.name),
    text(one.version),
  ]);
  const cases = texts(seen?.cases);
  const failed = new Set(texts(object(seen?.evaluation).failed));
  const failing = cases.filter((one) => failed.has(one)).length;
  return section(
    "Checks",
    listing.findings.length === 0
      ? el("p", {}, "Nothing is known yet.")
      : el("ul", {}, ...listing.findings.map((line) => el("li", { dir: "auto" }, line))),
    packages.length === 0
      ? null
      : el(
          "details",
          {},
          el("summary", {}, `Bill of materials: ${packages.length} packages`),
          table(
            "Packages of its environment",
            ["Ecosystem", "Package", "Version"],
            packages.slice(0, MOST_ROWS),
          ),
          packages.length > MOST_ROWS
            ? el("p", {}, `The first ${MOST_ROWS}; the bundle has them all.`)
            : null,
        ),
    cases.length === 0
      ? null
      : el(
          "details",
          {},
          el(
            "summary",
            {},
            `Evaluation cases: ${cases.length}${failing === 0 ? "" : `, of which ${failing} failed`}`,
          ),
          el(
            "ul",
            {},
            ...cases.map((one) =>
              el("li", {}, el("bdi", {}, one), failed.has(one) ? el("strong", {}, " failed") : null),
            ),
          ),
        ),
    ...evaluation(object(seen?.evaluation)),
  );
}

/** Returns what the publisher signed of the evaluation; nothing where they signed nothing. */
function evaluation(told: JsonObject): readonly Child[] {
  const measures = Object.entries(object(told.measures)).slice(0, MOST_MEASURES);
  if (measures.length === 0) {
    return [];
  }
  const shares = measures.map(([measure, value]) => ({ measure, ...share(object(value)) }));
  const rows = shares.map((one) => [
    el("code", {}, one.measure),
    `${one.met} of ${one.of}`,
    one.wanted === null ? null : `${one.wanted} %`,
    one.wanted === null ? null : one.reached ? "reached" : "missed",
  ]);
  const passed = shares.every((one) => one.reached);
  return [
    el("p", {}, "Its publisher evaluated it: ", el("strong", {}, passed ? "passed" : "failed"), "."),
    table("What is measured of the cases", ["Measure", "Cases", "Wanted", "Threshold"], rows),
    el(
      "p",
      { class: "told" },
      "What the cases came to is what its publisher signed: the marketplace runs no agent.",
    ),
  ];
}

function share(value: JsonObject): { met: number; of: number; wanted: number | null; reached: boolean } {
  const [met, of, wanted] = [
    numberOrNull(value.met) ?? 0,
    numberOrNull(value.of) ?? 0,
    numberOrNull(value.wanted),
  ];
  return { met, of, wanted, reached: wanted === null || met * 100 >= wanted * of };
}

function lineage(publics: readonly Listing[], here: Listing, told: readonly Event[]): HTMLElement {
  const rows = publics.map((one) => [
    one.version === here.version
      ? el("strong", { "aria-current": "true" }, one.version)
      : inside(agentPath(one.name, one.version), one.version),
    stateMark(one.state),
    moment(one.changed),
    one.reason,
    one.replacement === null ? null : agentLink(one.replacement),
  ]);
  const events = [...told]
    .reverse()
    .map((one) => [moment(one.at), one.kind, one.version, stateMark(one.state)]);
  return section(
    "Versions and events",
    rows.length === 0
      ? null
      : table("Versions that were ever public", ["Version", "State", "Since", "Why", "Replaced by"], rows),
    events.length === 0
      ? null
      : table("Events, the last first", ["When", "What", "Version", "State after it"], events),
  );
}
