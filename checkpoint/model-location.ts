import type { Place } from "../storage/index.ts";

/** Where a model is, before anything of it has been read. */
export interface ModelLocation {
  /** Its folder; for a single file the folder it is in. */
  readonly root: Place;
  /** The name of the single .safetensors file that is meant. */
  readonly file?: string;
  /** The only folder outside of `root` that links may lead into: the blobs of a repository in the Hub's cache. */
  readonly allowLinksInto?: Place;
}
