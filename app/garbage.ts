import { setFlagsFromString } from "node:v8";

/**
 * For a process that lives long and answers calls: nearly all that it makes is garbage once a call is answered. V8's default lets garbage
 * of several times what lives gather before it looks; so a third of it, and what is under way (of a thousand workers much) has the room to
 * end among young objects, which main.ts takes from commands that plan. A fifth saves
 * another 20 MB of 380, and takes a tenth of the slices a second.
 */
export function keepHeapSmall(): void {
  setFlagsFromString("--semi-space-growth-factor=2");
  setFlagsFromString("--heap-growing-percent=33");
}

/**
 * For a process through which bytes stream in buffers that live for a moment. With each 32 to 64 MB of them V8 begins to mark the heap in
 * steps of 5 ms, however little of it has changed; marked in one go, a heap of 25 MB takes 5 to 10 ms for 64 MB of buffers, and the same
 * bytes go through worker and coordinator in two fifths of the processor time. The price: a heap of 150 MB is marked in one go as well.
 */
export function collectInOneGo(): void {
  setFlagsFromString("--no-incremental-marking");
}
