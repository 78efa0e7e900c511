import { StorageError } from "../errors.ts";
import { type Place, schemeOf } from "../place.ts";

/** What a place on the Hub names: `hf://owner/name[@revision][/path]`. */
export interface HubPlace {
  /** `owner/name`, or the bare name of the Hub's first models. */
  readonly id: string;
  /** A branch, a tag or a commit; undefined: what the Hub gives who does not say. */
  readonly revision: string | undefined;
  /** Below the repository, "/" between its parts; "" is the repository itself. */
  readonly path: string;
}

/** A place whose revision is a commit: what is there stays as it is. */
export interface PinnedPlace extends HubPlace {
  readonly revision: string;
}

const PREFIX = "hf://";
const COMMIT = /^[0-9a-f]{40}$/;
const NAME = /^\w[\w.-]*$/;
/** Refs that have "/" in their names, as huggingface_hub reads them. In other revisions "/" is written %2F. */
const SPECIAL_REF = /^(?:refs\/(?:pr\/\d+|convert\/[\w.-]+))(?=\/|$)/;
/** What else the Hub has, by the word before `owner/name`. */
const OTHER_KINDS = ["datasets", "spaces", "kernels", "buckets", "collections"];

export function isCommit(revision: string | undefined): revision is string {
  return revision !== undefined && COMMIT.test(revision);
}

export function isHubPlace(place: Place): boolean {
  return schemeOf(place) === "hf";
}

/** `owner/name`, or the bare name of the Hub's first models ("gpt2"). */
export function isHubId(text: string): boolean {
  const parts = text.split("/");
  return parts.length <= 2 && parts.every((part) => NAME.test(part)) && !text.includes("..") && !text.includes("--");
}

/** @throws StorageError `storage/hub-name` */
export function parseHubPlace(place: Place): HubPlace {
  const inside = place.slice(PREFIX.length).replace(/^models\//, "");
  const at = /^[^/@]+(?:\/[^/@]+)?@/.exec(inside)?.[0];
  const [id, rest] = at === undefined ? idAndPath(inside) : [at.slice(0, -1), inside.slice(at.length)];
  if (!isHubId(id) || OTHER_KINDS.includes(id.split("/")[0] ?? "")) throw noModel(place);
  const parsed = at === undefined ? { revision: undefined, path: rest } : revisionAndPath(place, rest);
  return { id, ...parsed, path: parsed.path.replace(/\/+$/, "") };
}

/** The first two parts are the model. */
function idAndPath(inside: string): readonly [id: string, path: string] {
  const [owner = "", name = "", ...path] = inside.split("/");
  return [name === "" ? owner : `${owner}/${name}`, path.join("/")];
}

function revisionAndPath(place: Place, text: string): Pick<HubPlace, "revision" | "path"> {
  const special = SPECIAL_REF.exec(text)?.[0];
  if (special !== undefined) return { revision: special, path: text.slice(special.length + 1) };
  const [written = "", ...path] = text.split("/");
  let revision: string;
  try {
    revision = decodeURIComponent(written);
  } catch {
    throw noModel(place);
  }
  if (!isHubRevision(revision)) throw noModel(place);
  return { revision, path: path.join("/") };
}

/** What a branch, a tag or a commit may be called, and leads nowhere else. */
export function isHubRevision(text: string): boolean {
  return /^[\w.+-]+(?:\/[\w.+-]+)*$/.test(text) && !text.split("/").some((part) => /^\.+$/.test(part));
}

export function hubPlaceOf({ id, revision, path }: HubPlace): Place {
  const at = revision === undefined ? "" : `@${revision.replaceAll("/", "%2F")}`;
  return `${PREFIX}${id}${at}${path === "" ? "" : `/${path}`}` as Place;
}

/** What is read at a commit, and stays as it is; undefined of any other place. */
export function maybePinnedHubPlace(place: Place): PinnedPlace | undefined {
  if (!isHubPlace(place)) return undefined;
  const { revision, ...parsed } = parseHubPlace(place);
  return isCommit(revision) ? { ...parsed, revision } : undefined;
}

function noModel(place: Place): StorageError {
  return new StorageError("storage/hub-name", `${place} names no model on the Hub`, {
    hint: 'Write hf://owner/name, hf://owner/name@revision, or a path below these; "/" in a revision is written %2F.',
  });
}
