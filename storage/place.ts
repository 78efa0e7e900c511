import * as path from "node:path";

declare const brand: unique symbol;

/**
 * Where something lies: a path of this machine, or a URL ("s3://bucket/key") whose scheme names a store. It is written as people write it
 * and as it is shown to them. A path may be relative to the working directory of the process; a URL may not. What stands in it is for this
 * room alone: all others ask the functions below.
 */
export type Place = string & { readonly [brand]: "Place" };

/** "s3" of "s3://bucket/key". Of two letters at least: "C:" is a drive. */
const SCHEME = /^([A-Za-z][A-Za-z0-9+.-]+):\/\//;
/** The scheme of what is a path. */
const FILE = "file";

/** A place as somebody wrote it; `file://` URLs become paths. */
export function placeOf(text: string): Place {
  return (schemeIn(text) === FILE ? decodeURIComponent(text.replace(SCHEME, "")) : text) as Place;
}

/**
 * The place that an address names as people write addresses: percent-encoded ("%2B" for "+"); a path as it stands. Undefined of what is no
 * address of a file: one with a query ("?"), a fragment ("#"), a name and a password, or a wrong "%".
 */
export function maybePlaceOfAddress(text: string): Place | undefined {
  const scheme = schemeIn(text);
  if (scheme === undefined || scheme === FILE) return placeOf(text);
  const [store, inside] = partsOf(text as Place);
  const [host = "", ...parts] = inside.split("/");
  if (host === "" || /[?#]|%(?![0-9a-f]{2})|%2f|%00/i.test(inside) || host.includes("@")) return undefined;
  try {
    return `${store.toLowerCase()}${[host, ...parts.map(decodeURIComponent)].join("/")}` as Place;
  } catch {
    return undefined; // bytes that are no UTF-8
  }
}

export function maybePlaceOf(text: string | undefined): Place | undefined {
  return text === undefined ? undefined : placeOf(text);
}

/** In small letters; "file" of a path. */
export function schemeOf(place: Place): string {
  return schemeIn(place) ?? FILE;
}

/** Whether a text says where something lies by itself, and not from somewhere. */
export function isWhole(text: string): boolean {
  return schemeIn(text) !== undefined || path.isAbsolute(text);
}

/** A place as it was written in `from`, or the one that the text names by itself. */
export function placeFrom(from: Place, text: string): Place {
  if (isWhole(text)) return placeOf(text);
  return schemeIn(from) === undefined ? (path.resolve(from, text) as Place) : join(from, text);
}

/** The same place by its whole path. */
export function wholePlace(place: Place): Place {
  return schemeIn(place) === undefined ? (path.resolve(place) as Place) : place;
}

/** A place below: "/" may stand in a name, ".." leads up. */
export function join(folder: Place, ...names: readonly string[]): Place {
  const [store, inside] = partsOf(folder);
  return `${store}${syntaxOf(store).join(inside, ...names)}` as Place;
}

/** The folder above; of the topmost one itself. */
export function parentOf(place: Place): Place {
  const [store, inside] = partsOf(place);
  if (store !== "" && !inside.includes("/")) return place;
  return `${store}${syntaxOf(store).dirname(inside)}` as Place;
}

/** A folder's name may end with "/" where people write it. */
export function withoutLastSlash(place: Place): Place {
  return place.replace(/(?<=[^/])\/+$/, "") as Place;
}

/** The last part. */
export function nameOf(place: Place): string {
  const [store, inside] = partsOf(place);
  return syntaxOf(store).basename(inside);
}

/** The names that lead from a folder to a place below it; undefined where it is not below. Links are not looked at. */
export function namesBelow(folder: Place, place: Place): readonly string[] | undefined {
  const [store] = partsOf(folder);
  if (store !== partsOf(place)[0]) return undefined;
  if (store !== "") {
    const above = folder.endsWith("/") ? folder : `${folder}/`;
    return place.startsWith(above) && place !== above ? place.slice(above.length).split("/") : undefined;
  }
  const way = path.relative(folder, place);
  const names = way.split(path.sep);
  return way === "" || path.isAbsolute(way) || names[0] === ".." ? undefined : names;
}

export function isBelow(folder: Place, place: Place): boolean {
  return namesBelow(folder, place) !== undefined;
}

/** "s3://" and "bucket/key"; of a path nothing and itself. */
function partsOf(place: Place): readonly [store: string, inside: string] {
  const store = SCHEME.exec(place)?.[0] ?? "";
  return [store, place.slice(store.length)];
}

function syntaxOf(store: string): path.PlatformPath {
  return store === "" ? path : path.posix;
}

function schemeIn(text: string): string | undefined {
  return SCHEME.exec(text)?.[1]?.toLowerCase();
}
