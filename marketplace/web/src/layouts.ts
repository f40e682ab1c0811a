// Looks at a built bundle in the browser: an OCI image layout, of which nothing is sent anywhere.
// What the marketplace checks is more; this finds what would come back at once.

import { type Json, type JsonObject, numberOrNull, object, objects, text } from "./json";
import { hexadecimal } from "./keys";

const OURS = "application/vnd.agent-orchestrator.bundle";
const BUNDLE = `${OURS}.v1`;
const CONFIG = `${OURS}.manifest.v1+json`;
const STATEMENT = "application/vnd.dev.sigstore.bundle.v0.3+json";
const MEBIBYTE = 2 ** 20;
const MOST_FILES = 2_000;
const MOST_INDEX = 4 * MEBIBYTE;
const MOST_MANIFEST = MEBIBYTE;

interface Part {
  readonly file: string;
  readonly most: number;
  readonly needed: boolean;
}

const PARTS: Readonly<Record<string, Part>> = {
  [`${OURS}.code.v1.tar`]: { file: "code", most: 256 * MEBIBYTE, needed: true },
  [`${OURS}.lock.v1+txt`]: { file: "lock", most: 4 * MEBIBYTE, needed: true },
  [`${OURS}.node-lock.v1+json`]: { file: "lock of Node", most: 16 * MEBIBYTE, needed: false },
  "application/vnd.cyclonedx+json": { file: "bill of materials", most: 8 * MEBIBYTE, needed: true },
  "text/markdown": { file: "documentation", most: MEBIBYTE, needed: true },
  [`${OURS}.evaluation.v1+jsonl`]: { file: "evaluation cases", most: 8 * MEBIBYTE, needed: true },
};

/** One thing that was looked at. */
export interface Finding {
  readonly good: boolean;
  readonly line: string;
}

/** What a folder turned out to be; `manifest` is null where no bundle could be read. */
export interface Report {
  readonly findings: readonly Finding[];
  readonly manifest: JsonObject | null;
  readonly digest: string;
}

/** Files of a folder by their path in it. */
export type Folder = ReadonlyMap<string, File>;

class Unusable extends Error {}

export async function inspect(folder: Folder): Promise<Report> {
  const findings: Finding[] = [];
  const say = (good: boolean, line: string): void => void findings.push({ good, line });
  try {
    const entry = await entryOf(folder);
    const digest = text(entry.digest);
    const artifact = await readJson(folder, entry, MOST_MANIFEST);
    if (artifact.artifactType !== BUNDLE) {
      throw new Unusable("the artifact is no bundle");
    }
    const config = object(artifact.config);
    if (config.mediaType !== CONFIG) {
      throw new Unusable("the bundle has no manifest of this format");
    }
    const manifest = await readJson(folder, config, MOST_MANIFEST);
    say(true, `${text(manifest.name)} ${text(manifest.version)}, ${digest}`);
    await parts(folder, objects(artifact.layers), say);
    await signatures(folder, digest, say);
    return { findings, manifest, digest };
  } catch (error) {
    if (!(error instanceof Unusable)) {
      throw error;
    }
    say(false, error.message);
    return { findings, manifest: null, digest: "" };
  }
}

async function entryOf(folder: Folder): Promise<JsonObject> {
  if (!window.isSecureContext) {
    throw new Unusable(
      "the browser computes digests at HTTPS and on this machine only: write name and version below",
    );
  }
  if (folder.size > MOST_FILES) {
    throw new Unusable(
      `the folder has ${folder.size} files: choose the one that \`orchestrator bundle build\` made, dist`,
    );
  }
  if (!folder.has("oci-layout") || !folder.has("index.json")) {
    throw new Unusable(
      "the folder is no OCI image layout: choose the one that `orchestrator bundle build` made, dist",
    );
  }
  const bundles = (await index(folder)).filter((one) => one.artifactType === BUNDLE);
  const [entry] = bundles;
  if (entry === undefined || bundles.length > 1) {
    throw new Unusable(
      `the layout has ${bundles.length} bundles, and must have one: build into an empty folder`,
    );
  }
  return entry;
}

async function index(folder: Folder): Promise<readonly JsonObject[]> {
  const file = folder.get("index.json");
  if (file === undefined || file.size > MOST_INDEX) {
    throw new Unusable("index.json is too large");
  }
  return objects(object(parse("index.json", await file.text())).manifests);
}

async function parts(
  folder: Folder,
  layers: readonly JsonObject[],
  say: (good: boolean, line: string) => void,
): Promise<void> {
  const kinds = layers.map((layer) => text(layer.mediaType));
  for (const kind of kinds.filter((one, place) => PARTS[one] === undefined || kinds.indexOf(one) !== place)) {
    say(false, `the part ${kind} is not known, or there twice`);
  }
  for (const [kind, part] of Object.entries(PARTS)) {
    const layer = layers.find((one) => one.mediaType === kind);
    if (layer !== undefined) {
      await bytes(folder, layer, part.most).then(
        (content) => say(true, `${part.file}: ${content.byteLength.toLocaleString("en")} bytes, whole`),
        (error: unknown) => say(false, `${part.file}: ${error instanceof Error ? error.message : error}`),
      );
    } else if (part.needed) {
      say(false, `${part.file}: is missing`);
    }
  }
}

async function signatures(
  folder: Folder,
  digest: string,
  say: (good: boolean, line: string) => void,
): Promise<void> {
  const kinds = new Set<string>();
  for (const entry of (await index(folder)).filter((one) => one.artifactType === STATEMENT)) {
    const artifact = await readJson(folder, entry, MOST_MANIFEST);
    if (object(artifact.subject).digest === digest) {
      kinds.add(text(object(artifact.annotations)["dev.sigstore.bundle.predicateType"]));
    }
  }
  say(kinds.has("https://sigstore.dev/cosign/sign/v1"), "a signature is beside it");
  say(kinds.has("https://slsa.dev/provenance/v1"), "its provenance is beside it");
}

async function readJson(folder: Folder, descriptor: JsonObject, most: number): Promise<JsonObject> {
  const content = await bytes(folder, descriptor, most);
  return object(parse(text(descriptor.digest), new TextDecoder().decode(content)));
}

async function bytes(folder: Folder, descriptor: JsonObject, most: number): Promise<ArrayBuffer> {
  const digest = text(descriptor.digest);
  const size = numberOrNull(descriptor.size);
  const file = folder.get(`blobs/${digest.replace(":", "/")}`);
  if (!/^sha256:[0-9a-f]{64}$/.test(digest) || file === undefined) {
    throw new Unusable(`${digest.slice(0, 80) || "a part"} is not in the folder`);
  }
  if (file.size > most) {
    throw new Unusable(`${file.size} bytes; the limit is ${most}`);
  }
  const content = await file.arrayBuffer();
  if (
    file.size !== size ||
    `sha256:${hexadecimal(await crypto.subtle.digest("SHA-256", content))}` !== digest
  ) {
    throw new Unusable(`the bytes are not those of ${digest}`);
  }
  return content;
}

function parse(what: string, content: string): Json {
  try {
    return JSON.parse(content) as Json;
  } catch {
    throw new Unusable(`${what} is no JSON`);
  }
}
