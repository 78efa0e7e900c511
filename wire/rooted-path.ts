/** What roots are called, and how places below them are written, on every side of the wire. */

const ROOT_NAME = /^[a-z0-9][a-z0-9._-]{0,62}$/;
/** An address ("s3://bucket/x") names no root. */
const PLACE = /^([a-z0-9][a-z0-9._-]{0,62}):(?!\/\/)(.+)$/s;

/** For messages that refuse another one. */
export const ROOT_NAME_RULE = 'small letters, digits, "-", "_" and ".", a letter or digit first, at most 63';

export function isRootName(name: string): boolean {
  return ROOT_NAME.test(name);
}

/** Whether a path, with "/" between its parts, stays below whatever it is joined to. */
export function isPathBelow(path: string): boolean {
  return path.split("/").every((part) => part !== "" && part !== "." && part !== ".." && !part.includes("\0"));
}

/** "out:merged/x", slashes at its end left out; undefined for text that names no root. The path may still be none below it. */
export function maybePlace(text: string): { readonly root: string; readonly path: string } | undefined {
  const [, root, path] = PLACE.exec(text) ?? [];
  return root === undefined || path === undefined ? undefined : { root, path: path.replace(/\/+$/, "") };
}
