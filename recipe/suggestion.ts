export { maybeMeant } from "../checkpoint/index.ts";

/** `, did you mean "density"?`, or nothing. */
export function didYouMean(suggestion: string | undefined): string {
  return suggestion === undefined ? "" : `, did you mean "${suggestion}"?`;
}

/** `"a", "b" and "c"` */
export function quotedList(names: readonly string[], last = "and"): string {
  const quoted = names.map((name) => `"${name}"`);
  if (quoted.length < 2) return quoted.join("");
  return `${quoted.slice(0, -1).join(", ")} ${last} ${quoted.at(-1)}`;
}
