import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { InputAccess, OutputAccess } from "../../../proto/index.ts";
import { FileStore, placeOf } from "../../../storage/index.ts";
import { PROTOCOL_VERSION } from "../../../wire/index.ts";
import { MountedRoots, RemoteWorker, type RemoteWorkerOptions } from "../../../worker/link/index.ts";
import { serveResults } from "../../../worker/transfer/index.ts";
import { MODELS } from "../../e2e/cli-process.ts";
import { stackedRecipe } from "../../e2e/stacked-recipe.ts";
import { runMerge } from "../../support/run-merge.ts";
import { FakeCoordinator, type FakeOptions, GRANTED, LATER, REFUSED } from "./fake-coordinator.ts";

const ENGINE = { name: "wasm", maximumBytes: 2 ** 30, arenas: 1 };

const RECIPE = stackedRecipe("merge_method: della\nbase_model: gpt2-base\nparameters: {density: 0.5, epsilon: 0.2}");
const SLICE_BYTES = 512 * 1024;
const ONE_JOB = { models: MODELS, recipe: RECIPE, sliceBytes: SLICE_BYTES } as const;

const scratch = mkdtempSync(join(realpathSync(tmpdir()), "deltaworks-link-"));
let expected: Buffer;
beforeAll(async () => {
  const out = join(scratch, "reference");
  const { outcome } = await runMerge(RECIPE, out, { models: MODELS, sliceBytes: SLICE_BYTES });
  expect(outcome.outcome).toBe("done");
  expected = readFileSync(join(out, "model.safetensors"));
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

let ends: (() => void)[] = [];
afterEach(() => {
  for (const end of ends) end();
  ends = [];
});

let outs = 0;
async function coordinator(options: Partial<FakeOptions> = {}): Promise<FakeCoordinator> {
  const fake = await FakeCoordinator.start({ ...ONE_JOB, out: join(scratch, `out-${outs++}`), ...options });
  ends.push(() => fake.stop());
  return fake;
}

interface Started {
  readonly worker: RemoteWorker;
  readonly ended: Promise<void>;
  readonly log: { readonly event: string; readonly facts: Readonly<Record<string, unknown>> }[];
  readonly fatal: unknown[];
}

async function attach(
  fake: FakeCoordinator,
  { outRoot, listen = false, ...more }: { outRoot?: string; listen?: boolean } & Partial<RemoteWorkerOptions> = {},
): Promise<Started> {
  const store = new FileStore();
  const log: { event: string; facts: Readonly<Record<string, unknown>> }[] = [];
  const fatal: unknown[] = [];
  let worker: RemoteWorker | undefined;
  const server = listen
    ? await serveResults({ store, address: "127.0.0.1:0", resultOf: (id) => worker?.resultOf(id) })
    : undefined;
  const own = [
    { name: "models", path: placeOf(MODELS), writable: false },
    { name: "out", path: placeOf(outRoot ?? join(fake.stage, "../..")), writable: true },
  ];
  worker = new RemoteWorker({
    connection: { address: fake.address, workerName: "one" },
    hello: {
      protocolVersion: PROTOCOL_VERSION,
      softwareVersion: "0.0.0-test",
      workerName: "one",
      engine: "wasm",
      kernelId: Buffer.alloc(32),
      threads: 2,
      memoryBytes: 2n ** 30n,
      roots: [],
      listenAddress: server === undefined ? "" : `127.0.0.1:${server.port}`,
      takesSigned: false,
      incarnation: "first",
      host: "here",
    },
    pool: {
      engines: [ENGINE, ENGINE],
      budget: {
        rangeElements: 2 ** 32,
        spareBytes: 2 ** 25,
        heldBytes: 2 ** 28,
        pieceElements: 32_768,
        openFilesMax: 100,
      },
      resultBytes: 2 ** 24,
    },
    inputCacheBytes: 2 ** 22,
    store,
    roots: new MountedRoots(store, own),
    log: (_, event, facts = {}) => {
      log.push({ event, facts });
    },
    fatal: (error) => {
      fatal.push(error);
    },
    ...more,
  });
  const ended = worker.run();
  ended.catch(() => undefined);
  const running = worker;
  ends.push(() => {
    running.drain(0);
    server?.close();
  });
  return { worker, ended, log, fatal };
}

function resultOf(fake: FakeCoordinator): Buffer {
  return readFileSync(join(fake.stage, "model.safetensors"));
}

test.each([
  ["roots for both", InputAccess.INPUT_ACCESS_ROOTS, OutputAccess.OUTPUT_ACCESS_ROOTS],
  ["inputs over the wire, results sent", InputAccess.INPUT_ACCESS_READ_INPUT, OutputAccess.OUTPUT_ACCESS_SEND_RESULT],
  ["results fetched", InputAccess.INPUT_ACCESS_ROOTS, OutputAccess.OUTPUT_ACCESS_FETCH_RESULT],
])("a worker computes a job to the bits of a merge: %s", async (_, input, output) => {
  const fake = await coordinator({ input, output });
  const { fatal } = await attach(fake, { listen: output === OutputAccess.OUTPUT_ACCESS_FETCH_RESULT });
  await fake.finished;
  expect(fake.failures).toEqual([]);
  expect(fatal).toEqual([]);
  expect(resultOf(fake).equals(expected)).toBe(true);
});

test("a worker whose coordinator is killed and comes back offers what it finished, and the job ends in the same bytes", async () => {
  let asked = 0;
  let killed = false;
  const fake = await coordinator({
    grant: () => {
      asked++;
      return asked > 3 ? 1 : LATER;
    },
    onMessage: (message, self) => {
      // Results are finished and wait: the moment to go.
      if (message.$case !== "heartbeat" || asked === 0 || killed) return;
      killed = true;
      self.paused = true;
      self.stop();
      void self.listen().then(() => self.resume());
    },
  });
  const { fatal } = await attach(fake);
  await fake.finished;
  expect(fake.hellos.length).toBeGreaterThan(1);
  expect(fake.hellos[1]?.held.length).toBeGreaterThan(0);
  expect(fake.hellos[1]?.incarnation).toBe(fake.hellos[0]?.incarnation);
  expect(resultOf(fake).equals(expected)).toBe(true);
  expect(fatal).toEqual([]);
});

test("a report whose connection broke before its answer came is repeated on the next one, and not only when its time is over", async () => {
  let unanswered = 0;
  const fake = await coordinator({
    answersReport: (self) => {
      if (self.hellos.length > 1) return true;
      if (unanswered++ > 0) return false;
      self.paused = true;
      self.stop();
      void self.listen().then(() => self.resume());
      return false;
    },
  });
  await attach(fake);
  await fake.finished;
  expect(unanswered).toBeGreaterThan(0);
  expect(fake.failures).toEqual([]);
  expect(resultOf(fake).equals(expected)).toBe(true);
});

test("a worker of another protocol version ends with the coordinator's sentence", async () => {
  const fake = await coordinator({ protocolVersion: PROTOCOL_VERSION + 1 });
  const { ended } = await attach(fake);
  await expect(ended).rejects.toMatchObject({ code: "worker/refused", message: /upgrade the worker/ });
});

test("nothing is written of an attempt whose grant is refused", async () => {
  const refused = new Set<string>();
  let empty = Buffer.alloc(0);
  let untouched = false;
  const fake = await coordinator({
    // The first attempt at each slice is refused; the next one is an attempt with a higher number, and waits until all were.
    grant: (unit) => {
      const all = fake.plan.slices.length;
      if (refused.has(unit)) return refused.size < all ? LATER : GRANTED;
      refused.add(unit);
      if (refused.size === all) untouched = resultOf(fake).equals(empty);
      setImmediate(() => fake.lendAgain(unit));
      return REFUSED;
    },
  });
  empty = Buffer.from(resultOf(fake));
  await attach(fake);
  await fake.finished;
  expect(untouched).toBe(true);
  expect(resultOf(fake).equals(expected)).toBe(true);
});

test("a drained worker hands back what has not begun, finishes the rest, and ends", async () => {
  const fake = await coordinator({ slots: 12 });
  const { worker, ended } = await attach(fake);
  await fake.heard("heartbeat");
  fake.paused = true;
  worker.drain(60_000);
  await ended;
  const left = fake.plan.slices.filter(({ id }) => !fake.done.has(id));
  expect(fake.done.size + left.length).toBe(fake.plan.slices.length);
  // What is not done was handed back, or never lent: nothing is out any more.
  expect(fake.out).toEqual([]);
  expect(fake.failures).toEqual([]);
});

test("a link that leads out of a root is refused, and another worker may be asked", async () => {
  const roots = join(scratch, "roots");
  mkdirSync(roots);
  const fake = await coordinator();
  symlinkSync(join(fake.stage, ".."), join(roots, ".deltaworks"));
  await attach(fake, { outRoot: roots });
  await fake.finished;
  expect(fake.failures[0]?.code).toBe("worker/root");
  expect(fake.failures[0]?.message).toContain("outside of root out");
  expect(fake.done.size).toBe(0);
});

test("a report that is too large for any message fails its attempt with the sizes, and is not sent again and again", async () => {
  const fake = await coordinator({ grant: () => GRANTED });
  const failed = new Promise<void>((resolve) => {
    const seen = setInterval(() => {
      if (fake.failures.length === 0) return;
      clearInterval(seen);
      resolve();
    }, 5);
  });
  // No report of a slice is as small; of a failure, any is.
  await attach(fake, { seams: { reportBytesMax: 60 } });
  await failed;
  expect(fake.failures[0]).toMatchObject({
    code: "wire/too-large",
    message: expect.stringMatching(/a report of \d+ bytes, more than 60/),
  });
  expect(fake.done.size).toBe(0);
});
