// How much an agent was used is told to its publisher alone, for a question that their key signs; the page says how.

import { ask } from "./api";
import { type Child, copied, el, section } from "./elements";
import { object } from "./json";
import { word } from "./snippets";

const ROUTE = "/v1/usage/questions";

/** Returns null where the service takes no reports of usage. */
export async function usage(publisher: string, signal: AbortSignal): Promise<Child> {
  if (!(ROUTE in object(object(await ask("/openapi.json", signal)).paths))) {
    return null;
  }
  const command = `orchestrator usage received ${word(publisher)} --key ${word(publisher)}.key --at ${word(location.origin)}`;
  return section(
    "Usage",
    el(
      "p",
      {},
      "Platforms report executions and tokens of each month to the publisher, who reads them with their key.",
    ),
    copied("command of the publisher", command),
  );
}
