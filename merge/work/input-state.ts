import type { InputFile } from "./assignment.ts";
import { MergeError } from "./errors.ts";

/** What tells two states of a file apart without reading it. */
export type FileState = Pick<InputFile, "sizeBytes" | "version">;

/**
 * Same headers are not the same input: that a file is still what it was when the merge began.
 * @throws MergeError merge/input-changed naming model, file and what differs
 */
export function checkSameState(label: string, expected: InputFile, found: FileState): void {
  const changes = [
    expected.sizeBytes === found.sizeBytes ? [] : [`size ${expected.sizeBytes} → ${found.sizeBytes} bytes`],
    expected.version === found.version ? [] : [`${expected.version} → ${found.version}`],
  ].flat();
  if (changes.length === 0) return;
  throw inputChanged(`${label}: ${expected.path} changed since the merge began (${changes.join(", ")})`);
}

export function inputChanged(message: string): MergeError {
  return new MergeError("merge/input-changed", message, {
    hint: "Slices already computed are from the old file. Put it back and run again, or merge anew from what is there now with --restart.",
  });
}
