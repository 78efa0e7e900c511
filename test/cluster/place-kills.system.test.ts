/** Clusters that share nothing but a bucket: what is left of a coordinator that was killed, and what passes through one. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type Objects, placeOf } from "../../storage/index.ts";
import { run } from "../e2e/cli-process.ts";
import { contentsOf } from "../output/fake-output.ts";
import { Cli } from "../support/child-process.ts";
import { ConnectProxy } from "../support/connect-proxy.ts";
import { NatsServer, natsVersions } from "../support/nats-server.ts";
import { S3Server, s3Keys, s3ObjectsOf } from "../support/s3-server.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { writeSafetensors } from "../support/write-safetensors.ts";
import { objectsBelow } from "./objects-below.ts";
import { Rig } from "./rig.ts";

const MIB = 2 ** 20;
const ROWS = 2048;
const TENSORS = ["a", "b", "c", "d", "e", "f", "g", "h"];
/** Of one model: 8 MiB a tensor. */
const MODEL_BYTES = TENSORS.length * ROWS * 1024 * 4;
const NAMES = ["base", "one", "two"];
const SIZES = ["--slice-size", `${5 * MIB}`, "--shard-size", `${30 * MIB}`];
const PLACES = ["--place", "models=s3://bucket/models:ro", "--place", "out=s3://bucket/out"];
const OUT = placeOf("s3://bucket/out/merged");

/** Models of 64 MiB in a bucket that is reached at a pace at which a merge of them takes seconds. */
async function begin() {
  const server = await S3Server.start();
  const pace = await TcpProxy.listen({ port: Number(new URL(server.endpoint).port) });
  const rig = new Rig();
  await server.makeBucket("bucket");
  for (const [salt, name] of NAMES.entries()) {
    const folder = rig.path(name);
    mkdirSync(folder);
    const tensors = TENSORS.map((tensor, t) => {
      const values = Float32Array.from({ length: ROWS * 1024 }, (_, k) => ((k * (t + 3) + salt * 7919) % 8191) / 8191);
      return { name: `${tensor}.weight`, dtype: "F32", shape: [ROWS, 1024], bytes: Buffer.from(values.buffer) };
    });
    writeSafetensors(join(folder, "model.safetensors"), tensors);
    writeFileSync(join(folder, "config.json"), '{"architectures": ["X"], "model_type": "x"}');
    for (const file of ["model.safetensors", "config.json"])
      await server.put(`bucket/models/${name}/${file}`, readFileSync(join(folder, file)));
  }
  pace.set({ bytesPerSecond: 60 * MIB });
  const environment = {
    AWS_ACCESS_KEY_ID: s3Keys.accessKeyId,
    AWS_SECRET_ACCESS_KEY: s3Keys.secretAccessKey,
    AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${pace.port}`,
  };
  return { rig, objects: s3ObjectsOf(server.endpoint), environment };
}

function recipeOf(rig: Rig, at: (name: string) => string): string {
  const path = rig.path(`recipe-${at("x").replaceAll(/\W/g, "-")}.yml`);
  const models = NAMES.slice(1).map((name) => `  - {model: "${at(name)}", parameters: {weight: 0.5, density: 0.5}}\n`);
  writeFileSync(path, `merge_method: ties\nbase_model: "${at("base")}"\nmodels:\n${models.join("")}dtype: float32\n`);
  return path;
}

async function expectedOf(rig: Rig): Promise<Record<string, string>> {
  const recipe = recipeOf(rig, (name) => rig.path(name));
  const { code, stderr } = await run(["merge", recipe, rig.path("here"), ...SIZES, "--quiet"]);
  expect(code, stderr).toBe(0);
  return weightsIn(contentsOf(rig.path("here")));
}

function weightsIn(files: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(files).filter(([name]) => name.includes(".safetensors")));
}

async function expectPublished(objects: Objects, expected: Record<string, string>): Promise<void> {
  const found = await objectsBelow(objects, OUT);
  expect(weightsIn(found)).toEqual(expected);
  expect(Object.keys(found)).toContain("SHA256SUMS");
  expect(Object.keys(found).filter((name) => name.startsWith(".deltaworks"))).toEqual([]);
  expect(await objects.listUploads(placeOf("s3://bucket"))).toEqual([]);
}

test("three workers without folders and keys, a journal in NATS, a coordinator killed: the weights of one machine, and less than 1 % of the bytes by the coordinator", async () => {
  const { rig, objects, environment } = await begin();
  const nats = await NatsServer.start({ version: natsVersions[0] ?? "" });
  const toStore = await ConnectProxy.start();
  const natsArgs = ["--nats", nats.url];
  expect((await run(["nats", "init", ...natsArgs])).code).toBe(0);
  const own = { environment: { ...environment, HTTP_PROXY: toStore.url } };
  const first = await rig.coordinator(natsArgs, own, PLACES);
  const toWorkers = await TcpProxy.listen({ port: Number(first.address.split(":")[1]) });
  const workers = ["a", "b", "c"].map((name) => rig.bareWorker(`127.0.0.1:${toWorkers.port}`, name));
  const recipe = recipeOf(rig, (name) => `models:${name}`);
  const submit = Cli.start(["submit", recipe, "out:merged", "--coordinator", first.address, "--json", ...SIZES]);
  await submit.event(({ slicesDone }) => Number(slicesDone) >= 3);
  await first.cli.killed();
  const done = submit.events.findLast(({ slicesDone }) => slicesDone !== undefined);
  expect(Number(done?.slicesDone)).toBeLessThan(MODEL_BYTES / (5 * MIB));
  const second = await rig.coordinator([...natsArgs, "--listen", first.address], own, PLACES);
  await submit.ended;
  const said = [second.cli, ...workers].map(({ stderr }) => stderr.slice(-3000)).join("\n");
  expect(submit.end?.code, submit.stdout.slice(-3000) + said).toBe(0);
  const began = second.cli.events.find(({ msg }) => msg === "job began");
  expect(began).toMatchObject({ state: "resumed" });
  expect(Number(began?.slicesDone)).toBeGreaterThanOrEqual(3);
  await expectPublished(objects, await expectedOf(rig));
  const passed = toStore.passedBytes + toWorkers.passed("up") + toWorkers.passed("down");
  expect(passed).toBeGreaterThan(0);
  expect(passed).toBeLessThan((NAMES.length * MODEL_BYTES) / 100);
});

test("a coordinator that keeps its journal in its own state goes on after a kill; a job that is cancelled leaves no upload", async () => {
  const { rig, objects, environment } = await begin();
  const own = { environment };
  const first = await rig.coordinator([], own, PLACES);
  for (const name of ["a", "b"]) rig.bareWorker(first.address, name);
  const recipe = recipeOf(rig, (name) => `models:${name}`);
  const submit = (out: string) =>
    Cli.start(["submit", recipe, out, "--coordinator", first.address, "--json", ...SIZES]);
  const merged = submit("out:merged");
  await merged.event(({ slicesDone }) => Number(slicesDone) >= 3);
  await first.cli.killed();
  const second = await rig.coordinator(["--listen", first.address], own, PLACES);
  await merged.ended;
  expect(merged.end?.code, merged.stdout.slice(-3000) + second.cli.stderr.slice(-3000)).toBe(0);
  expect(second.cli.events.find(({ msg }) => msg === "job began")).toMatchObject({ state: "resumed" });
  await expectPublished(objects, await expectedOf(rig));

  const cancelled = submit("out:cancelled");
  await cancelled.event(({ slicesDone }) => Number(slicesDone) >= 1);
  expect((await objects.listUploads(OUT.replace("merged", "cancelled") as typeof OUT)).length).toBeGreaterThan(0);
  expect((await run(["cancel", "cancelled", "--coordinator", first.address])).code).toBe(0);
  await cancelled.ended;
  expect(cancelled.stdout).toContain('"state":"cancelled"');
  expect(await objects.listUploads(placeOf("s3://bucket"))).toEqual([]);
  expect(await objects.identity(OUT.replace("merged", "cancelled") as typeof OUT)).toBeUndefined();
});

test("another coordinator, which shares the journal in NATS and nothing else, goes on with the parts that the store has", {
  timeout: 200_000,
}, async () => {
  const { rig, objects, environment } = await begin();
  const nats = await NatsServer.start({ version: natsVersions[0] ?? "" });
  const shared = ["--nats", nats.url, "--lease", "6s", "--io-timeout", "2s"];
  expect((await run(["nats", "init", "--nats", nats.url])).code).toBe(0);
  const first = await rig.coordinator(shared, { environment }, PLACES);
  for (const name of ["a", "b"]) rig.bareWorker(first.address, name);
  const recipe = recipeOf(rig, (name) => `models:${name}`);
  const submit = Cli.start(["submit", recipe, "out:merged", "--coordinator", first.address, "--json", ...SIZES]);
  await submit.event(({ slicesDone }) => Number(slicesDone) >= 3);
  await first.cli.killed();
  const other = ["--state", rig.path("other-state"), "--listen", first.address];
  const second = await rig.coordinator([...shared, ...other], { environment }, PLACES);
  await submit.ended;
  expect(submit.end?.code, submit.stdout.slice(-3000) + second.cli.stderr.slice(-3000)).toBe(0);
  const began = second.cli.events.find(({ msg }) => msg === "job began");
  expect(began).toMatchObject({ state: "resumed" });
  expect(Number(began?.slicesDone)).toBeGreaterThanOrEqual(3);
  await expectPublished(objects, await expectedOf(rig));
});
