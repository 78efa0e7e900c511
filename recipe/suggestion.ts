import { distance } from "fastest-levenshtein";

/** The known name that was most likely meant; undefined where none is near. */
export function maybeMeant(written: string, known: Iterable<string>): string | undefined {
  const allowed = Math.max(1, Math.floor(written.length / 3));
  let best: { name: string; edits: number } | undefined;
  for (const name of known) {
    const edits = distance(written.toLowerCase(), name.toLowerCase());
    if (edits <= allowed && (best === undefined || edits < best.edits)) best = { name, edits };
  }
  return best?.name;
}

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
