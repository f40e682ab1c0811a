// YAML and commands to take along. Whatever strangers wrote is quoted, so that it stays a value.

import { type JsonObject, object, text, texts } from "./json";

const PLACEHOLDERS: Readonly<Record<string, string>> = {
  string: '"…"',
  integer: "0",
  number: "0",
  boolean: "false",
  array: "[]",
};

/** Returns `defs.yaml` of an asset that runs the published versions from this one on. */
export function assetOf(name: string, version: string, manifest: JsonObject, marketplace: string): string {
  const properties = object(object(manifest.inputs).properties);
  const inputs = Object.entries(properties).map(([key, schema]) => {
    const value = PLACEHOLDERS[text(object(schema).type)] ?? "{}";
    return `    ${quoted(key)}: {value: ${value}}`;
  });
  const [publisher = "", agent = ""] = name.split("/");
  return [
    "type: orchestrator_sensors.PublishedAgentComponent",
    "attributes:",
    `  bundle: ${name}`,
    `  versions: ${quoted(`>=${version},<${Number.parseInt(version, 10) + 1}`)}`,
    `  framework: ${quoted(text(manifest.framework))}`,
    `  marketplace: ${quoted(marketplace)}`,
    "  trust: trust.yaml",
    ...(inputs.length > 0 ? ["  inputs:   # or {asset: KEY}: what another asset produced", ...inputs] : []),
    `  asset: {key: ${quoted(`${publisher}/${agent}`)}}`,
    "",
  ].join("\n");
}

/** Returns `trust.yaml` for a publisher whose keys lie beside it. */
export function trustOf(publisher: string, keys: number): string {
  const files = Array.from({ length: keys }, (_, number) => keyFile(publisher, number));
  return `publishers:\n  ${quoted(publisher)}: {keys: [${files.map(quoted).join(", ")}]}\n`;
}

export function keyFile(publisher: string, number: number): string {
  return number === 0 ? `${publisher}.pub` : `${publisher}-${number + 1}.pub`;
}

/** What somebody told the page of the bundle that they publish. */
export interface Submission {
  readonly name: string;
  readonly version: string;
  readonly layout: string;
  readonly key: string;
  readonly registry: string;
}

/** Returns the commands from a built bundle to its submission. */
export function commandsOf(
  given: Submission,
  marketplace: string,
): { sign: string; push: string; submit: string } {
  const layout = word(given.layout);
  const key = word(given.key);
  const registry = word(given.registry);
  return {
    sign: `orchestrator bundle sign ${layout} --key ${key}`,
    push: `orchestrator bundle push ${layout} ${registry}`,
    submit: `orchestrator marketplace submit ${layout} ${registry} --key ${key} --at ${word(marketplace)}`,
  };
}

/** Returns the permissions that an agent asks for, as policies name them. */
export function asked(manifest: JsonObject): readonly string[] {
  const permissions = object(manifest.permissions);
  return [
    ...(permissions.network === "open" ? ["network:open"] : []),
    ...texts(permissions.mcp_servers).map((server) => `mcp:${server}`),
    ...(permissions.sessions === true ? ["sessions"] : []),
  ];
}

/** Returns a text as YAML and JSON quote it; nothing but ASCII, as YAML breaks lines at more than JSON does. */
export function quoted(value: string): string {
  return JSON.stringify(value).replaceAll(
    /[\u007f-\uffff]/g,
    (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** Returns a text as one word of a shell's command line. */
export function word(value: string): string {
  return /^[\w@%+=:,./-]+$/.test(value) ? value : `'${value.replaceAll("'", `'"'"'`)}'`;
}
