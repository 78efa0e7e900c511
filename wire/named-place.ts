import { maybePlaceOfAddress, type Place, schemeOf, withoutLastSlash } from "../storage/index.ts";
import { isRootName } from "./rooted-path.ts";

/** A root that is no folder of a machine, but a prefix of a bucket: as `--place` names it, on every side of the wire. */
export interface NamedPlace {
  /** Of the same names as roots. */
  readonly name: string;
  readonly path: Place;
  readonly writable: boolean;
}

const READ_ONLY = ":ro";
/** What has places that many may read and write. */
const SCHEMES: ReadonlySet<string> = new Set(["s3"]);

/** For messages that refuse another one. */
export const NAMED_PLACE_RULE =
  "Write --place NAME=s3://bucket/prefix, percent-encoded, or NAME=s3://bucket/prefix:ro for what is only read.";

/** "models=s3://bucket/prefix", or with ":ro" behind it where it is only read; undefined of anything else. */
export function maybeNamedPlace(text: string): NamedPlace | undefined {
  const at = text.indexOf("=");
  const name = text.slice(0, Math.max(0, at));
  const writable = !text.endsWith(READ_ONLY);
  const path = maybePlaceOfAddress(text.slice(at + 1, writable ? undefined : -READ_ONLY.length));
  if (!isRootName(name) || path === undefined || !SCHEMES.has(schemeOf(path))) return undefined;
  return { name, path: withoutLastSlash(path), writable };
}

/** What may be said of a text that is no named place: what it gives away is not repeated. */
export function shownPlace(text: string): string {
  return JSON.stringify(text.replace(/[?#].*|(?<=:\/\/)[^/]*@/gs, "…"));
}
