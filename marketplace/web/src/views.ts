import type { Child } from "./elements";

/** What stands in the page at an address; `content` begins with a heading, which gets the focus. */
export interface View {
  readonly title: string;
  readonly content: readonly Child[];
}
