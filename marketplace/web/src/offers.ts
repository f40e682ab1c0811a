// What an agent costs, on what terms, and how platforms rate it.

import type { Listing, Rating } from "./api";
import { type Child, el, moment, section, table } from "./elements";
import { numberOrNull, object, text, textOrNull } from "./json";

/** Returns what it costs, in words. */
export function price(listing: Listing): string {
  const pricing = object(listing.manifest.pricing);
  const amounts = ["call", "execution", "month"].flatMap((per) => {
    const amount = textOrNull(pricing[`per_${per}`]);
    return amount === null ? [] : [`${amount} per ${per}`];
  });
  if (amounts.length > 0) {
    return `${text(pricing.currency)} ${amounts.join(" and ")}`;
  }
  return listing.state === "checks" ? "" : "free";
}

/** Returns its stars in words and as a picture; null where nobody has rated it. */
export function stars(listing: Listing): Child {
  const rating = object(listing.whole.rating);
  const average = numberOrNull(rating.average);
  const count = numberOrNull(rating.count);
  if (average === null || count === null) {
    return null;
  }
  const full = Math.min(Math.max(Math.round(average), 0), 5);
  const picture = el("span", { "aria-hidden": "true" }, "★".repeat(full) + "☆".repeat(5 - full));
  return el("span", {}, picture, ` ${average} of 5, by ${count} ${count === 1 ? "platform" : "platforms"}`);
}

export function terms(listing: Listing): Child {
  const said = textOrNull(listing.manifest.terms);
  return said === null ? null : section("Terms", el("p", { class: "written", dir: "auto" }, said));
}

export function ratingTable(found: readonly Rating[]): Child {
  if (found.length === 0) {
    return null;
  }
  const rows = found.map((one) => [
    one.platform,
    `${one.stars} of 5`,
    one.version,
    moment(one.at),
    el("span", { dir: "auto" }, one.comment),
  ]);
  return section(
    "Ratings",
    table("What platforms think of it", ["Platform", "Stars", "Version", "When", "Comment"], rows),
  );
}
