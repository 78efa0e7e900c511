/**
 * Tensors of 200 models that are cut over slices and surveyed in ranges, by the real coordinator's job, link and worker over a real
 * connection. In one process, so that ranges can be as short as a slice: what a test has time for.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { ServerCredentials } from "@grpc/grpc-js";
import { expect, test } from "vitest";
import { fileHome, remoteLimits, runMergeJob } from "../../coordinator/job/index.ts";
import { coordinatorHandlers, RpcServer, WorkerHub } from "../../coordinator/link/index.ts";
import { parseSeed } from "../../merge/math/index.ts";
import { FileOutput } from "../../output/index.ts";
import { prepareText } from "../../prepare/index.ts";
import { FileStore, placeOf } from "../../storage/index.ts";
import { coordinatorDefinition, PROTOCOL_VERSION } from "../../wire/index.ts";
import { MountedRoots, RemoteWorker } from "../../worker/link/index.ts";
import { runMerge } from "../support/run-merge.ts";
import { seededRandom } from "../support/seeded-random.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { writeSafetensors } from "../support/write-safetensors.ts";

const MODELS = 200;
const MODULE = "model.layers.0.mlp.up_proj";
/** Of two blocks: two slices, two ranges. */
const [ROWS, COLUMNS] = [512, 256];
const RANK = 2;

/** Of forty binary orders: the upper halves of their bits fill thousands of bins. */
function values(count: number, seed: number): Uint8Array {
  const next = seededRandom(seed);
  const made = Float32Array.from({ length: count }, () => (next() < 0.5 ? -1 : 1) * 2 ** (-40 * next()));
  return new Uint8Array(made.buffer);
}

function writeModel(folder: string, seed: number): void {
  const tensor = { name: `${MODULE}.weight`, dtype: "F32", shape: [ROWS, COLUMNS] };
  writeSafetensors(join(folder, "model.safetensors"), [{ ...tensor, bytes: values(ROWS * COLUMNS, seed) }]);
}

function writeAdapter(folder: string, seed: number): void {
  const name = `base_model.model.${MODULE}`;
  writeSafetensors(join(folder, "adapter_model.safetensors"), [
    { name: `${name}.lora_A.weight`, dtype: "F32", shape: [RANK, COLUMNS], bytes: values(RANK * COLUMNS, seed) },
    { name: `${name}.lora_B.weight`, dtype: "F32", shape: [ROWS, RANK], bytes: values(ROWS * RANK, seed + 1) },
  ]);
  const config = { peft_type: "LORA", r: RANK, lora_alpha: RANK, target_modules: ["up_proj"] };
  writeFileSync(join(folder, "adapter_config.json"), JSON.stringify(config));
}

function recipeOf(models: readonly string[]): string {
  const listed = models.map((name, k) => `  - {model: ${name}, parameters: {density: ${0.2 + 0.003 * k}, weight: 1}}`);
  return ["merge_method: breadcrumbs_ties", "base_model: base", "models:", ...listed, ""].join("\n");
}

/** Merges by a coordinator's job and one worker, a range a slice. What the worker logged. */
async function mergeByWorker(recipe: string, models: string, out: string) {
  const store = new FileStore();
  const clock = { nowMs: () => performance.now() };
  const prepared = await prepareText(store, recipe, "recipe.yml", {
    seed: "0",
    sliceBytes: 1,
    shardBytes: 2 ** 40,
    allowNonfinite: false,
    allowUnknownKeys: false,
    modelsRoot: placeOf(models),
    cwd: placeOf(models),
    environment: {},
  });
  const { plan, digest, inputs } = prepared;
  const hub = new WorkerHub({
    softwareVersion: "0.0.0-test",
    startNumber: 1,
    times: { leaseMs: 60_000, heartbeatMs: 5_000, ioTimeoutMs: 20_000 },
    store,
    clock,
    fetch: () => Promise.reject(new Error("nothing is fetched here")),
    changed: () => {
      for (const worker of hub.workers) for (const id of hub.jobs.keys()) hub.setSlots(worker, id, 2);
    },
    log: () => {},
    defect: (error) => {
      throw error;
    },
  });
  const handlers = coordinatorHandlers(hub, (_, claimed) => claimed);
  const server = new RpcServer({
    services: [{ name: "deltaworks.v1.Coordinator", definition: coordinatorDefinition, handlers }],
    credentials: ServerCredentials.createInsecure(),
  });
  const port = await server.listen("127.0.0.1:0");
  mkdirSync(out, { recursive: true });
  const log: { event: string; facts: Readonly<Record<string, unknown>> }[] = [];
  const worker = new RemoteWorker({
    connection: { address: `127.0.0.1:${port}`, workerName: "one" },
    hello: {
      protocolVersion: PROTOCOL_VERSION,
      softwareVersion: "0.0.0-test",
      workerName: "one",
      engine: "wasm",
      kernelId: Buffer.alloc(32),
      threads: 1,
      memoryBytes: 2n ** 30n,
      roots: [
        { name: "models", writable: false },
        { name: "out", writable: true },
      ],
      listenAddress: "",
      takesSigned: false,
      incarnation: "first",
      host: "here",
    },
    pool: {
      engines: [{ name: "wasm", maximumBytes: 2 ** 30, arenas: 1 }],
      budget: {
        rangeElements: 2 ** 32,
        spareBytes: 2 ** 25,
        heldBytes: 2 ** 28,
        pieceElements: 32_768,
        openFilesMax: 300,
      },
      resultBytes: 2 ** 24,
    },
    inputCacheBytes: 2 ** 22,
    store,
    roots: new MountedRoots(store, [
      { name: "models", path: placeOf(models), writable: false },
      { name: "out", path: placeOf(out), writable: true },
    ]),
    log: (_, event, facts = {}) => {
      log.push({ event, facts });
    },
    fatal: (failure) => {
      throw new Error(failure.message);
    },
  });
  const ended = worker.run();
  try {
    const outcome = await runMergeJob({
      ...prepared,
      store,
      output: new FileOutput(store, placeOf(out)),
      home: fileHome(store, placeOf(join(out, ".deltaworks"))),
      seed: parseSeed(plan.seed),
      overwrite: false,
      restart: false,
      hashInputs: false,
      toolVersion: "0.0.0-test",
      surveyElements: 1,
      workers: ({ shardPaths }) =>
        hub.source({
          id: "job",
          plan,
          planDigest: digest,
          inputs,
          shardPaths,
          inputPlaces: inputs.map(({ files }) =>
            files.map(({ path }) => ({ root: "models", path: relative(models, path) })),
          ),
          shardPlaces: shardPaths.map((path) => ({ root: "out", path: relative(out, path) })),
          readBack: () => Promise.reject(new Error("the worker reads back")),
        }),
      clock,
      limits: remoteLimits({ slices: plan.slices.length, speculates: false }),
      observer: { began: () => {}, progress: () => {}, warning: () => {}, counted: () => {} },
      onStop: () => {},
    });
    expect(outcome).toEqual({ outcome: "done" });
  } finally {
    await hub.closeJob("job");
    worker.drain(0);
    await ended.catch(() => undefined);
    hub.stop();
    await server.shutdown(1000);
  }
  return { log, plan };
}

const sha256 = (out: string) =>
  createHash("sha256")
    .update(readFileSync(join(out, "model.safetensors")))
    .digest("hex");

test.each([
  ["models in F32", writeModel, (k: number) => `m${k}`],
  ["adapters", writeAdapter, (k: number) => `base+m${k}`],
] as const)(
  "200 %s: surveys larger than one report come in pieces, and the bits are those of the whole",
  async (_, write, nameOf) => {
    const folder = temporaryFolder();
    const models = join(folder, "models");
    writeModel(join(models, "base"), 7);
    for (let k = 0; k < MODELS; k++) {
      mkdirSync(join(models, `m${k}`), { recursive: true });
      write(join(models, `m${k}`), 1000 + 2 * k);
    }
    const recipe = recipeOf(Array.from({ length: MODELS }, (_, k) => nameOf(k)));
    const { log, plan } = await mergeByWorker(recipe, models, join(folder, "cut"));
    expect(plan.slices).toHaveLength(2);
    const inPieces = log.filter(({ event }) => event === "a summary in pieces");
    // Two ranges, in each round of which there are two.
    expect(new Set(inPieces.map(({ facts }) => facts.unit))).toEqual(
      new Set(["survey-0-1-0", "survey-0-1-1", "survey-0-2-0", "survey-0-2-1"].slice(0, inPieces.length)),
    );
    expect(inPieces.length).toBeGreaterThanOrEqual(2);
    for (const { facts } of inPieces) expect(facts.bytes).toBeGreaterThan(2 ** 20);
    const whole = await runMerge(recipe, join(folder, "whole"), { models });
    expect(whole.outcome.outcome).toBe("done");
    expect(sha256(join(folder, "cut"))).toBe(sha256(join(folder, "whole")));
  },
);
