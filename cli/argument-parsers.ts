import { InvalidArgumentError } from "commander";
import { maybeBytes } from "../options/index.ts";

/** Of an option that may be given again. */
export function gather(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}

export function wholeNumber(least: number, most: number) {
  return (text: string): number => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= least && value <= most) return value;
    throw new InvalidArgumentError(`Give a whole number, ${least} to ${most}.`);
  };
}

export function byteSize(text: string): number {
  const bytes = maybeBytes(text);
  if (bytes !== undefined) return bytes;
  throw new InvalidArgumentError("Give a number of bytes, such as 512MB or 1.5GiB.");
}
