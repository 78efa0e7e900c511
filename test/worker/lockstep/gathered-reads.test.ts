import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { GatheredReads } from "../../../worker/lockstep/gathered-reads.ts";

/** A file whose reads end when they are let. */
class Slow {
  readonly reads = new GatheredReads();
  readonly #waiting: (() => void)[] = [];
  begun = 0;
  fails = false;

  read(key: string, offsetBytes: number, into: Uint8Array): Promise<void> {
    return this.reads.read(key, offsetBytes, into, async (bytes) => {
      this.begun++;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
      if (this.fails) throw new Error("far away");
      bytes.fill(offsetBytes + 1);
    });
  }

  letGo(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

test("ranges that are asked for together are read at once, and each by one read, whoever asks while it is under way", async () => {
  const slow = new Slow();
  const buffers = Array.from({ length: 9 }, () => new Uint8Array(10));
  const first = buffers.slice(0, 3).map((into, k) => slow.read("a", k, into));
  const together = buffers.slice(3, 6).map((into, k) => slow.read("a", k, into));
  await turn();
  expect(slow.begun).toBe(3);
  const later = buffers.slice(6).map((into, k) => slow.read("a", k, into));
  await turn();
  expect(slow.begun).toBe(3);
  slow.letGo();
  await Promise.all([...first, ...together, ...later]);
  expect(buffers.map(([byte]) => byte)).toEqual([1, 2, 3, 1, 2, 3, 1, 2, 3]);
  expect(slow.reads.bytesRead).toBe(30);
});

test("what fails is told to all who wait for it, and read anew for who comes later", async () => {
  const slow = new Slow();
  slow.fails = true;
  const [one, two] = [new Uint8Array(4), new Uint8Array(4)];
  const failed = [slow.read("a", 0, one), slow.read("a", 0, two)].map((read) =>
    expect(read).rejects.toThrow("far away"),
  );
  await turn();
  slow.letGo();
  await Promise.all(failed);
  slow.fails = false;
  const again = slow.read("a", 0, one);
  await turn();
  slow.letGo();
  await again;
  expect(one).toEqual(new Uint8Array(4).fill(1));
});
