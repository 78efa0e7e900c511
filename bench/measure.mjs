// Runs one program and says how long it took, from start to exit, and how much memory it had.
import { spawn, spawnSync } from "node:child_process";
import { closeSync, openSync, readSync, rmSync } from "node:fs";
import { performance } from "node:perf_hooks";

/**
 * @returns {Promise<{ seconds: number, peakBytes: number, processorSeconds: number, stdout: string }>} `processorSeconds`: user and system, of
 * all threads. Both are 0 if the program says none.
 */
export async function measure(command, args, options = {}) {
  const start = performance.now();
  const child = spawn(command, args, { ...options, stdio: ["ignore", "pipe", "pipe", "pipe"] });
  const [stdout, stderr, peak] = [1, 2, 3].map((descriptor) => textOf(child.stdio[descriptor]));
  const [code, signal] = await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (...ended) => resolve(ended));
  });
  const seconds = (performance.now() - start) / 1000;
  if (code !== 0) {
    const end = (await stderr).trim().split("\n").slice(-5).join("\n");
    throw new Error(`${command} ${args.join(" ")} ended with ${signal ?? code}: ${end}`);
  }
  const [peakBytes = 0, processorSeconds = 0] = (await peak).split(" ").map(Number);
  return { seconds, peakBytes, processorSeconds, stdout: await stdout };
}

async function textOf(stream) {
  const pieces = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

/** Removes the outputs before and waits until nothing is left to write back: each run begins on a quiet disk. */
export function settleDisk(...outputs) {
  for (const output of outputs) rmSync(output, { recursive: true, force: true });
  spawnSync("sync");
}

/** Reads files once, so that they lie in the page cache. */
export function warm(paths) {
  const buffer = Buffer.allocUnsafe(8 * 1024 * 1024);
  for (const path of paths) {
    const descriptor = openSync(path, "r");
    while (readSync(descriptor, buffer) > 0);
    closeSync(descriptor);
  }
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
