import { Option } from "commander";

/** Of commands that lock a directory. */
export interface TakeOverOptions {
  /** Name of a holder, as the message of a lock gives it. */
  readonly takeOver?: string;
}

export function takeOver(): Option {
  const description = "take the locks of this holder, as storage/locked names it: you are certain that it has ended";
  return new Option("--take-over <holder>", description);
}
