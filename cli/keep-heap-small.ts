import { setFlagsFromString } from "node:v8";

/**
 * For a process that lives long and answers calls: nearly all that it makes is garbage once a call is answered. V8's default lets garbage
 * of several times what lives gather before it looks; so half of it, and calls in flight (a thousand workers have many) have the room to
 * end among young objects, which main.ts takes from commands that plan.
 */
export function keepHeapSmall(): void {
  setFlagsFromString("--semi-space-growth-factor=2");
  setFlagsFromString("--heap-growing-percent=50");
}
