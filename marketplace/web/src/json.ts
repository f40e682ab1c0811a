// What came as JSON, looked at piece by piece: nothing that strangers wrote is taken for what it says it is.

export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: Json | undefined;
}

export function text(value: Json | undefined): string {
  return typeof value === "string" ? value : "";
}

/** Returns null where there is nothing to show. */
export function textOrNull(value: Json | undefined): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}

export function numberOrNull(value: Json | undefined): number | null {
  return typeof value === "number" ? value : null;
}

export function object(value: Json | undefined): JsonObject {
  return isObject(value) ? value : {};
}

export function objects(value: Json | undefined): readonly JsonObject[] {
  return isArray(value) ? value.filter(isObject) : [];
}

export function texts(value: Json | undefined): readonly string[] {
  return isArray(value) ? value.filter((one) => typeof one === "string") : [];
}

function isArray(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value);
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !isArray(value);
}
