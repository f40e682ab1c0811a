// The marketplace's API, as /openapi.json describes it.

import { type Json, type JsonObject, numberOrNull, object, objects, text, textOrNull, texts } from "./json";

const PATIENCE_MS = 20_000;

/** The service, or what stands before it, does not do something; `status` is 0 where it did not answer at all. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

export interface Listing {
  readonly name: string;
  readonly version: string;
  readonly state: string;
  readonly digest: string;
  readonly reference: string;
  /** Empty before it was checked. */
  readonly manifest: JsonObject;
  readonly documentation: string;
  readonly findings: readonly string[];
  readonly reason: string | null;
  readonly replacement: string | null;
  readonly changed: string;
  /** As it came: what a newer service tells besides. */
  readonly whole: JsonObject;
}

export interface Listings {
  readonly listings: readonly Listing[];
  readonly after: string | null;
}

export interface Event {
  readonly at: string;
  readonly kind: string;
  readonly version: string;
  readonly state: string;
}

export interface Rating {
  readonly platform: string;
  readonly stars: number;
  readonly version: string;
  readonly at: string;
  readonly comment: string;
}

/** What the page of this service is told by it. */
export interface Place {
  readonly name: string;
  readonly registries: readonly string[];
}

export async function search(query: URLSearchParams, signal: AbortSignal): Promise<Listings> {
  return listings(await ask(`/v1/bundles?${query}`, signal));
}

export async function versions(name: string, signal: AbortSignal): Promise<readonly Listing[]> {
  return listings(await ask(`/v1/bundles/${path(name)}`, signal)).listings;
}

export async function version(name: string, number: string, signal: AbortSignal): Promise<Listing> {
  return listing(object(await ask(`/v1/bundles/${path(name)}/${encodeURIComponent(number)}`, signal)));
}

/** Returns null for a version that never passed the checks. */
export async function evidence(
  name: string,
  number: string,
  signal: AbortSignal,
): Promise<JsonObject | null> {
  const found = await unlessNone(
    ask(`/v1/bundles/${path(name)}/${encodeURIComponent(number)}/evidence`, signal),
  );
  return found === null ? null : object(found);
}

export async function history(name: string, signal: AbortSignal): Promise<readonly Event[]> {
  return objects(object(await ask(`/v1/history/${path(name)}`, signal)).events).map((one) => ({
    at: text(one.at),
    kind: text(one.kind),
    version: text(one.version),
    state: text(one.state),
  }));
}

/** Returns the first page of what platforms think of an agent. */
export async function ratings(name: string, signal: AbortSignal): Promise<readonly Rating[]> {
  const found = await unlessNone(ask(`/v1/ratings/${path(name)}`, signal));
  return objects(object(found).ratings).map((one) => ({
    platform: text(one.platform),
    stars: numberOrNull(one.stars) ?? 0,
    version: text(one.version),
    at: text(one.at),
    comment: text(one.comment),
  }));
}

/** Returns a publisher's keys as PEM; null for a publisher that is not registered. */
export async function keys(publisher: string, signal: AbortSignal): Promise<readonly string[] | null> {
  const found = await unlessNone(ask(`/v1/publishers/${encodeURIComponent(publisher)}`, signal));
  return found === null ? null : texts(object(found).keys);
}

export async function place(signal: AbortSignal): Promise<Place> {
  const told = object(await ask("/page/marketplace.json", signal));
  return { name: text(told.name), registries: texts(told.registries) };
}

export async function ask(address: string, signal: AbortSignal): Promise<Json> {
  let answer: Response;
  try {
    answer = await fetch(address, { signal: AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]) });
  } catch (error) {
    signal.throwIfAborted();
    throw new Refused(0, `The marketplace does not answer: ${error}`);
  }
  const told: Json = await answer.json().catch(() => null);
  if (!answer.ok) {
    throw new Refused(
      answer.status,
      text(object(told).message) || `The marketplace answers ${answer.status}.`,
    );
  }
  return told;
}

async function unlessNone(asked: Promise<Json>): Promise<Json> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof Refused && error.status === 404) {
      return null;
    }
    throw error;
  }
}

function listings(told: Json): Listings {
  const found = object(told);
  return { listings: objects(found.listings).map(listing), after: textOrNull(found.after) };
}

function listing(one: JsonObject): Listing {
  return {
    name: text(one.name),
    version: text(one.version),
    state: text(one.state),
    digest: text(one.digest),
    reference: text(one.reference),
    manifest: object(one.manifest),
    documentation: text(one.documentation),
    findings: texts(one.findings),
    reason: textOrNull(one.reason),
    replacement: textOrNull(one.replacement),
    changed: text(one.changed),
    whole: one,
  };
}

function path(name: string): string {
  return name.split("/").map(encodeURIComponent).join("/");
}
