import type { Io } from "./io.ts";
import { sizeText } from "./size-text.ts";

/** That a file of a model is fetched into the Hub's cache, which takes its time. */
export function printFetching(
  [model, path, sizeBytes]: readonly [model: string, path: string, sizeBytes: number],
  { json, quiet = false }: { readonly json: boolean; readonly quiet?: boolean },
  io: Io,
): void {
  if (json) io.stdout(`${JSON.stringify({ event: "fetching", model, path, sizeBytes })}\n`);
  else if (!quiet) io.stderr(`fetching  ${model}  ${path}, ${sizeText(sizeBytes)}\n`);
}
