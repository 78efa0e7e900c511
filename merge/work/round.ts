import type { PlainData } from "./plain-data.ts";

/**
 * What a method answers when it begins or settles: one more request, to be surveyed over all ranges of the tensor,
 * or the verdict, all that `merge` needs to know of the whole tensor.
 */
export type Step<Request = PlainData, Verdict = PlainData> =
  | { readonly request: Request }
  | { readonly verdict: Verdict; readonly warnings?: readonly string[] };

/** A job's seed as two u32 halves: it never passes through a double. */
export interface Seed {
  readonly low: number;
  readonly high: number;
}
