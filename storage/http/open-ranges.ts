import type { Source } from "../port.ts";
import { readAuthorities } from "./authorities.ts";
import { HttpRanges } from "./http-ranges.ts";

export interface FarOptions {
  /** To stores that are far, of all hosts together. */
  readonly connectionsMax?: number;
  /** Most bytes a second from stores that are far. */
  readonly bandwidthBytes?: number;
}

/** What reads ranges for the stores of this process or thread, with the authorities that its environment names. `files`: where these lie. */
export async function openRanges(files: Source, { connectionsMax, bandwidthBytes }: FarOptions): Promise<HttpRanges> {
  const ca = await readAuthorities(files, process.env);
  return new HttpRanges({
    ...{ ...(connectionsMax === undefined ? {} : { connectionsMax }), ...(ca === undefined ? {} : { ca }) },
    bandwidthBytes,
  });
}
