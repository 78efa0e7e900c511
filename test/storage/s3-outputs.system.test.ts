/** Merges from bucket to bucket, against a real S3 server: bytes as on disk, whatever happens on the way. */
import type { ChildProcess } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join as joinPath } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { runMerge } from "../../app/index.ts";
import { defaultsOf } from "../../options/index.ts";
import { join, type Objects, type Place, placeOf, readWhole } from "../../storage/index.ts";
import { type CommandEvent, type Ended, errorOf, MODELS, start } from "../e2e/cli-process.ts";
import { contentsOf, sha256 } from "../output/fake-output.ts";
import { faultProxy, type RangeServer, refuse } from "../support/range-server.ts";
import { runMerge as runMergeHere } from "../support/run-merge.ts";
import { S3Server, s3Keys, s3ObjectsOf } from "../support/s3-server.ts";
import { seededRandom } from "../support/seeded-random.ts";
import { serverCertificateIn } from "../support/server-certificate.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { writeSafetensors } from "../support/write-safetensors.ts";

const RECIPES = joinPath(MODELS, "../recipes");
const MIB = 2 ** 20;

interface Rig {
  readonly folder: string;
  readonly server: S3Server;
  readonly objects: Objects;
  readonly environment: Readonly<Record<string, string>>;
}

async function begin({ isSecure = false }: { readonly isSecure?: boolean } = {}): Promise<Rig> {
  const folder = temporaryFolder();
  const tls = isSecure ? await serverCertificateIn(folder) : undefined;
  const server = await S3Server.start(tls);
  for (const bucket of ["models", "out"]) await server.makeBucket(bucket);
  const environment = {
    AWS_ACCESS_KEY_ID: s3Keys.accessKeyId,
    AWS_SECRET_ACCESS_KEY: s3Keys.secretAccessKey,
    AWS_ENDPOINT_URL_S3: server.endpoint,
    XDG_STATE_HOME: joinPath(folder, "state"),
    // Node reads its own when it starts, ours is read by this process too.
    ...(tls === undefined ? {} : { NODE_EXTRA_CA_CERTS: tls.ca, AWS_CA_BUNDLE: tls.ca }),
  };
  return { folder, server, objects: s3ObjectsOf(server.endpoint, tls?.ca), environment };
}

/** SHA-256 of all objects below a place, by their names: what was published, and nothing else. */
async function objectsBelow(objects: Objects, place: Place, prefix = ""): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const { name, kind } of await objects.list(join(place, prefix))) {
    const path = prefix === "" ? name : `${prefix}/${name}`;
    if (kind === "directory") Object.assign(found, await objectsBelow(objects, place, path));
    else found[path] = sha256(await readWhole(objects, join(place, path), 1e9));
  }
  return found;
}

async function command({ environment }: Rig, ...args: string[]) {
  const ended = await start(args, { environment }).ended;
  return ended;
}

async function succeeded(rig: Rig, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await command(rig, ...args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.anything() });
  return stdout + stderr;
}

/** A model of 24 MiB and one of another value, so that a slice of 5 MiB is one of several parts. */
function largeModels(folder: string): readonly string[] {
  return [1, 2].map((salt) => {
    const model = joinPath(folder, `large-${salt}`);
    mkdirSync(model);
    const rows = 2048;
    const tensors = ["a", "b", "c"].map((name, t) => {
      const values = Float32Array.from({ length: rows * 1024 }, (_, k) => Math.sin(k * (t + 1) + salt) / 8);
      return { name: `${name}.weight`, dtype: "F32", shape: [rows, 1024], bytes: Buffer.from(values.buffer) };
    });
    writeSafetensors(joinPath(model, "model.safetensors"), tensors);
    writeFileSync(joinPath(model, "config.json"), '{"architectures": ["X"], "model_type": "x"}');
    return model;
  });
}

function largeRecipe(folder: string): string {
  const [base = "", other = ""] = largeModels(folder);
  const path = joinPath(folder, "large.yml");
  const models = `  - {model: "${other}", parameters: {weight: 0.5, density: 0.5}}\n`;
  writeFileSync(path, `merge_method: ties\nbase_model: "${base}"\nmodels:\n${models}dtype: float32\n`);
  return path;
}

const LARGE = ["--slice-size", `${5 * MIB}`, "--shard-size", `${13 * MIB}`, "--threads", "2", "--quiet"];

/** But for the manifest, and what SHA256SUMS says of it. */
function comparable(hashes: Record<string, string>): Record<string, string> {
  const { SHA256SUMS: _sums, "deltaworks.manifest.json": _manifest, ...others } = hashes;
  return others;
}

test.each(["plain", "TLS"])(
  "shards of several parts are those that the same merge writes to a folder: %s",
  async (how) => {
    const rig = await begin({ isSecure: how === "TLS" });
    const recipe = largeRecipe(rig.folder);
    const [here, there] = [joinPath(rig.folder, "here"), placeOf("s3://out/a b/x+y")];
    await succeeded(rig, "merge", recipe, "s3://out/a%20b/x%2By/", ...LARGE);
    await succeeded(rig, "merge", recipe, here, ...LARGE);
    const found = await objectsBelow(rig.objects, there);
    const expected = contentsOf(here);
    expect(Object.keys(found).sort()).toEqual(Object.keys(expected).sort());
    expect(Object.keys(found).filter((name) => name.endsWith(".safetensors"))).toHaveLength(3);
    expect(comparable(found)).toEqual(comparable(expected));
    const sums = async (bytes: Uint8Array) =>
      Buffer.from(bytes)
        .toString()
        .split("\n")
        .filter((line) => !line.startsWith("#") && !line.includes("manifest"));
    expect(await sums(await readWhole(rig.objects, join(there, "SHA256SUMS"), 1e6))).toEqual(
      await sums(readFileSync(joinPath(here, "SHA256SUMS"))),
    );
    expect(await rig.objects.listUploads(placeOf("s3://out"))).toEqual([]);
    expect(await succeeded(rig, "verify", "s3://out/a%20b/x%2By")).toContain("ok ");
    expect(await succeeded(rig, "merge", recipe, "s3://out/a%20b/x%2By", ...LARGE.slice(0, -1))).toContain("already");
  },
);

const OUT = placeOf("s3://out/merged");

/** The same merge, whole, on disk. */
async function expectedOf(rig: Rig, recipe: string, ...options: string[]): Promise<Record<string, string>> {
  const here = joinPath(temporaryFolder(), "here");
  await succeeded(rig, "merge", recipe, here, ...LARGE, ...options);
  return comparable(contentsOf(here));
}

async function expectPublished(rig: Rig, expected: Record<string, string>): Promise<void> {
  const found = await objectsBelow(rig.objects, OUT);
  expect(comparable(found)).toEqual(expected);
  expect(Object.keys(found)).toContain("SHA256SUMS");
  expect(await rig.objects.listUploads(placeOf("s3://out"))).toEqual([]);
}

/** Merges until something is told, and is killed then. */
async function killedWhen(rig: Rig, recipe: string, when: (event: CommandEvent) => boolean, signal = "SIGKILL") {
  const events: CommandEvent[] = [];
  let isKilled = false;
  const { ended } = start(["merge", recipe, OUT, ...LARGE, "--json"], {
    environment: rig.environment,
    onEvent: (event, child) => {
      events.push(event);
      if (isKilled || !when(event)) return;
      isKilled = true;
      child.kill(signal as NodeJS.Signals);
    },
  });
  return { ...(await ended), events };
}

test("a merge that is killed at any moment goes on where it was, with what had gone up", async () => {
  const rig = await begin();
  const recipe = largeRecipe(rig.folder);
  const expected = await expectedOf(rig, recipe);
  let done = 0;
  const moments: readonly ((event: CommandEvent) => boolean)[] = [
    ({ slicesDone }) => Number(slicesDone) >= 1,
    ({ slicesDone }) => Number(slicesDone) >= 3,
    ({ phase }) => phase === "sealing",
    ({ phase }) => phase === "publishing",
  ];
  for (const when of moments) {
    const { signal, events, stderr } = await killedWhen(rig, recipe, when);
    expect({ signal, stderr }).toMatchObject({ signal: "SIGKILL" });
    expect(events.find(({ event }) => event === "began")?.slicesDone).toBeGreaterThanOrEqual(done);
    done = Math.max(done, ...events.map(({ slicesDone }) => Number(slicesDone ?? 0)));
    expect(await rig.objects.identity(join(OUT, "model.safetensors.index.json"))).toBeUndefined();
  }
  await succeeded(rig, "merge", recipe, OUT, ...LARGE);
  await expectPublished(rig, expected);
});

test("what was lost of an upload meanwhile is computed anew, and nothing else", async () => {
  const rig = await begin();
  const recipe = largeRecipe(rig.folder);
  const expected = await expectedOf(rig, recipe);
  await killedWhen(rig, recipe, ({ phase }) => phase === "sealing");
  const stage = join(OUT, ".deltaworks/stage");
  const shards = (await rig.objects.list(stage)).filter(({ name }) => name.endsWith(".upload"));
  expect(shards.length).toBe(3);
  const slot = placeOf(`${join(stage, shards[0]?.name ?? "")}`.replace(/\.upload$/, ""));
  for (const { place, upload } of await rig.objects.listUploads(stage))
    if (place === slot) await rig.objects.abortUpload(place, upload);
  await rig.objects.remove(slot);
  const { code, events, stderr } = await command(rig, "merge", recipe, OUT, ...LARGE, "--json");
  expect({ code, stderr }).toMatchObject({ code: 0 });
  expect(events.find(({ event }) => event === "began")).toMatchObject({ state: "resumed", slicesDone: 4 });
  await expectPublished(rig, expected);
});

test("connections that break while parts go up cost nothing but time", async () => {
  const rig = await begin();
  const recipe = largeRecipe(rig.folder);
  const expected = await expectedOf(rig, recipe);
  const proxy = await TcpProxy.listen({ port: Number(new URL(rig.server.endpoint).port) });
  onTestFinished(() => proxy.close());
  for (const mib of [2, 7, 9, 16, 21]) proxy.at("up", mib * MIB, () => proxy.reset());
  const environment = { ...rig.environment, AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${proxy.port}` };
  await succeeded({ ...rig, environment }, "merge", recipe, OUT, ...LARGE);
  expect(proxy.passed("up")).toBeGreaterThan(24 * MIB);
  await expectPublished(rig, expected);
});

test("a merge that is stopped can be gone on with, and with --restart nothing is left of it", async () => {
  const rig = await begin();
  const recipe = largeRecipe(rig.folder);
  const { code } = await killedWhen(rig, recipe, ({ slicesDone }) => Number(slicesDone) >= 1, "SIGINT");
  expect(code).toBe(130);
  expect((await rig.objects.listUploads(OUT)).length).toBe(3);
  const state = { ...rig, environment: { ...rig.environment, XDG_STATE_HOME: joinPath(rig.folder, "other") } };
  const refused = await command(state, "merge", recipe, OUT, ...LARGE);
  expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining("coordinator/other-job") });
  const expected = await expectedOf(rig, recipe, "--random-seed", "1");
  await succeeded(rig, "merge", recipe, OUT, ...LARGE, "--restart", "--random-seed", "1");
  await expectPublished(rig, expected);
});

test("of two that make the same merge at once one is refused, and the other's is whole", async () => {
  const rig = await begin();
  const recipe = largeRecipe(rig.folder);
  let second: ReturnType<typeof command> | undefined;
  const { ended } = start(["merge", recipe, OUT, ...LARGE, "--json"], {
    environment: rig.environment,
    onEvent: ({ slicesDone }, child) => {
      if (second !== undefined || !(Number(slicesDone) >= 1)) return;
      child.kill("SIGSTOP");
      second = command(rig, "merge", recipe, OUT, ...LARGE, "--json").finally(() => child.kill("SIGCONT"));
    },
  });
  const { code, stderr } = await ended;
  expect({ code, stderr }).toMatchObject({ code: 0 });
  expect(errorOf((await second) as Ended)).toMatchObject({ code: "storage/locked" });
  await expectPublished(rig, await expectedOf(rig, recipe));
});

test("what a merge left that nobody goes on with is found, and removed if that is said", async () => {
  const rig = await begin();
  const recipe = largeRecipe(rig.folder);
  await killedWhen(rig, recipe, ({ slicesDone }) => Number(slicesDone) >= 1);
  const found = await succeeded(rig, "clean", "s3://out");
  expect(found).toMatch(/^found +s3:\/\/out\/merged: 3 uploads, the last begun .* ago, of --state .*, held by (\S+)$/m);
  const [, holder = ""] = /held by (\S+)$/m.exec(found) ?? [];
  expect(await succeeded(rig, "clean", "s3://out", "--remove")).toMatch(/^young /m);
  expect(await succeeded(rig, "clean", "s3://out", "--remove", "--older-than", "0")).toMatch(/^held /m);
  expect((await rig.objects.listUploads(placeOf("s3://out"))).length).toBe(3);
  const args = ["clean", "s3://out", "--remove", "--older-than", "0", "--take-over", holder];
  expect(await succeeded(rig, ...args)).toMatch(/^removed /m);
  expect(await rig.objects.listUploads(placeOf("s3://out"))).toEqual([]);
  expect(await rig.objects.identity(OUT)).toBeUndefined();
  expect(await succeeded(rig, "clean", "s3://out")).toContain("nothing");
  const again = await command(rig, "merge", recipe, OUT, ...LARGE);
  expect(again).toMatchObject({ code: 0 });
});

test("a claim that a killed process of another machine left is taken over only if somebody says so", async () => {
  const rig = await begin();
  const recipe = largeRecipe(rig.folder);
  await killedWhen(rig, recipe, ({ slicesDone }) => Number(slicesDone) >= 1);
  const state = { ...rig, environment: { ...rig.environment, XDG_STATE_HOME: joinPath(rig.folder, "other") } };
  const { code, stderr } = await command(state, "merge", recipe, OUT, ...LARGE, "--restart");
  expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringContaining("storage/locked") });
  const [, holder = ""] = /--take-over (\S+)/.exec(stderr) ?? [];
  await succeeded(state, "merge", recipe, OUT, ...LARGE, "--restart", "--take-over", holder);
  await expectPublished(rig, await expectedOf(rig, recipe));
});

test("what is there is not written over, but by --overwrite; files of others never", async () => {
  const rig = await begin();
  const recipe = largeRecipe(rig.folder);
  await succeeded(rig, "merge", recipe, OUT, ...LARGE);
  const other = ["--random-seed", "2", "--shard-size", "100MB"];
  const refused = await command(rig, "merge", recipe, OUT, ...LARGE, ...other);
  expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining("publish/not-empty") });
  await rig.objects.put(join(OUT, "notes.md"), Buffer.from("mine"));
  const foreign = await command(rig, "merge", recipe, OUT, ...LARGE, ...other, "--overwrite");
  expect(foreign).toMatchObject({ code: 2, stderr: expect.stringContaining("publish/foreign-file") });
  await rig.objects.remove(join(OUT, "notes.md"));
  await succeeded(rig, "merge", recipe, OUT, ...LARGE, ...other, "--overwrite");
  await expectPublished(rig, await expectedOf(rig, recipe, ...other));
});

test("what is damaged in a bucket is computed again, and the rest of it is copied by the store", async () => {
  const rig = await begin();
  const recipe = largeRecipe(rig.folder);
  await succeeded(rig, "merge", recipe, OUT, ...LARGE);
  const before = await objectsBelow(rig.objects, OUT);
  const shard = join(OUT, "model-00001-of-00003.safetensors");
  const bytes = await readWhole(rig.objects, shard, 1e9);
  bytes[6 * MIB] = (bytes[6 * MIB] ?? 0) ^ 1;
  await rig.objects.put(shard, bytes);
  await rig.objects.remove(join(OUT, "README.md"));
  expect((await command(rig, "verify", OUT)).code).toBe(3);
  expect(await succeeded(rig, "repair", OUT)).toContain(
    "repaired model-00001-of-00003.safetensors, 1 slice computed again",
  );
  expect(await objectsBelow(rig.objects, OUT)).toEqual(before);
  expect(await rig.objects.listUploads(placeOf("s3://out"))).toEqual([]);
});

test.each([
  ["s3://out/merged?X-Amz-Signature=canary", [], "options/value"],
  ["s3://nobucket/merged", [], "storage/not-found"],
  ["https://host/merged", [], "storage/scheme"],
  ["s3://out/merged", ["--slice-size", "1MiB"], "options/value"],
  ["s3://out/merged", ["--seal", "crc"], "options/value"],
] as const)("%s %s is refused with %s", async (out, options, code) => {
  const rig = await begin();
  const recipe = largeRecipe(rig.folder);
  const { stderr, stdout } = await command(rig, "merge", recipe, out, "--quiet", ...options);
  expect(stderr).toContain(code);
  expect(stderr + stdout).not.toContain("canary");
  expect(await rig.objects.identity(OUT)).toBeUndefined();
});

test("what was merged into a folder and published into a bucket is repaired there", async () => {
  const rig = await begin();
  const recipe = largeRecipe(rig.folder);
  const here = joinPath(rig.folder, "here");
  await succeeded(rig, "merge", recipe, here, "--slice-size", "1MiB", "--threads", "2", "--quiet");
  await succeeded(rig, "publish", here, OUT);
  const shard = join(OUT, "model.safetensors");
  const bytes = await readWhole(rig.objects, shard, 1e9);
  bytes[6 * MIB] = (bytes[6 * MIB] ?? 0) ^ 1;
  await rig.objects.put(shard, bytes);
  expect(await succeeded(rig, "repair", OUT)).toContain("repaired model.safetensors, 1 slice computed again");
  expect(await objectsBelow(rig.objects, OUT)).toEqual(contentsOf(here));
  expect(await rig.objects.listUploads(placeOf("s3://out"))).toEqual([]);
});

test("sealed by the checksums of its store a merge is the same but for the records, and damage is found and repaired", async () => {
  const rig = await begin();
  const recipe = largeRecipe(rig.folder);
  const { SHA256SUMS: _, ...expected } = await expectedOf(rig, recipe);
  await succeeded(rig, "merge", recipe, OUT, ...LARGE, "--seal", "checksums");
  const before = await objectsBelow(rig.objects, OUT);
  expect(before.SHA256SUMS).toBeUndefined();
  expect(comparable(before)).toEqual(expected);
  expect(await succeeded(rig, "verify", OUT)).toContain("ok ");
  const shard = join(OUT, "model-00001-of-00003.safetensors");
  const bytes = await readWhole(rig.objects, shard, 1e9);
  bytes[6 * MIB] = (bytes[6 * MIB] ?? 0) ^ 1;
  await rig.objects.put(shard, bytes);
  expect((await command(rig, "verify", OUT)).code).toBe(3);
  expect(await succeeded(rig, "repair", OUT)).toContain("1 slice computed again");
  expect(await objectsBelow(rig.objects, OUT)).toEqual(before);
  for (const to of ["s3://out/elsewhere", "hf://owner/name"]) {
    const refused = await command(rig, "publish", OUT, to);
    expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining("--seal checksums") });
  }
});

test("a sweep into a bucket makes what each merge makes in a folder, and goes on where it was killed", async () => {
  const rig = await begin();
  const recipe = readFileSync(largeRecipe(rig.folder), "utf8").replace("weight: 0.5", `weight: ${"$"}{weight}`);
  writeFileSync(joinPath(rig.folder, "ties.yml"), recipe);
  const path = joinPath(rig.folder, "sweep.yml");
  writeFileSync(path, "recipe: ties.yml\ngrid: {weight: [0.5, 1]}\n");
  const killed = start(["sweep", path, "s3://out/runs", ...LARGE], { environment: rig.environment });
  while ((await rig.objects.listUploads(placeOf("s3://out"))).length === 0)
    await new Promise((resolve) => setTimeout(resolve, 20));
  killed.process.kill("SIGKILL");
  await killed.ended;
  expect(await succeeded(rig, "sweep", path, "s3://out/runs", ...LARGE)).toMatch(/swept {2}2 of 2 merges/);
  for (const weight of [0.5, 1]) {
    const alone = joinPath(rig.folder, `${weight}.yml`);
    writeFileSync(alone, recipe.replace(`${"$"}{weight}`, `${weight}`));
    const found = await objectsBelow(rig.objects, placeOf(`s3://out/runs/weight=${weight}`));
    const expected = await expectedOf(rig, alone);
    const named = ({ "mergekit_config.yml": _recipe, "README.md": _card, ...others }: Record<string, string>) => others;
    expect(named(comparable(found))).toEqual(named(expected));
    expect(Object.keys(found)).toContain("SHA256SUMS");
  }
  expect(await rig.objects.listUploads(placeOf("s3://out"))).toEqual([]);
  expect(await succeeded(rig, "sweep", path, "s3://out/runs", ...LARGE)).toMatch(/swept {2}2 of 2 merges/);
});

/**
 * What happens to questions on their way to a server, drawn from a seed: they and their answers are lost, refused and cut, and what is sent is
 * damaged. What comes of models is not: over plain HTTP nobody could tell.
 */
function chaos(proxy: RangeServer, random: () => number): { isOn: boolean } {
  const control = { isOn: true };
  proxy.faults.push((asked, response) => {
    if (!control.isOn) return false;
    const drawn = random();
    const { socket } = response;
    if (drawn < 0.02) return socket?.destroy() !== undefined;
    if (drawn < 0.04) setTimeout(() => socket?.destroy(), 10 * random()); // done perhaps, and its answer lost perhaps
    if (drawn >= 0.04 && drawn < 0.06)
      return refuse(503, {}, "<Error><Code>SlowDown</Code></Error>")(asked, response, undefined);
    if (drawn >= 0.06 && drawn < 0.07) return refuse(500)(asked, response, undefined);
    if (drawn >= 0.07 && drawn < 0.12 && asked.body.length > 0) asked.body[asked.body.length >> 1]! ^= 1;
    return false;
  });
  return control;
}

test.each([1, 2])(
  "through chaos a merge from bucket to bucket ends with the bytes of one here: seed %i",
  async (seed) => {
    const rig = await begin();
    const random = seededRandom(seed);
    const [base = "", other = ""] = largeModels(rig.folder);
    for (const [name, model] of Object.entries({ base, other }))
      for (const file of readdirSync(model))
        await rig.objects.put(placeOf(`s3://models/${name}/${file}`), readFileSync(joinPath(model, file)));
    const text = (at: (path: string, name: string) => string) => {
      const models = `  - {model: "${at(other, "other")}", parameters: {weight: 0.5, density: 0.5}}\n`;
      return `merge_method: ties\nbase_model: "${at(base, "base")}"\nmodels:\n${models}dtype: float32\n`;
    };
    const [here, there] = ["here", "there"].map((name) => joinPath(rig.folder, `${name}.yml`));
    writeFileSync(
      here ?? "",
      text((path) => path),
    );
    writeFileSync(
      there ?? "",
      text((_, name) => `s3://models/${name}`),
    );
    const named = ({ "mergekit_config.yml": _recipe, "README.md": _card, ...others }: Record<string, string>) => others;
    const expected = named(await expectedOf(rig, here ?? ""));
    const proxy = await faultProxy(rig.server.endpoint);
    const control = chaos(proxy, random);
    const environment = { ...rig.environment, AWS_ENDPOINT_URL_S3: proxy.origin };
    // What happens besides, once: to the process, or to the server.
    type Trouble = readonly [when: (event: CommandEvent) => boolean, act: (child: ChildProcess) => void];
    const troubles: Trouble[] = [
      [({ slicesDone }) => Number(slicesDone) >= 1, (child) => child.kill("SIGKILL")],
      [({ slicesDone }) => Number(slicesDone) >= 3, (child) => child.kill("SIGKILL")],
      [({ phase }) => phase === "publishing", (child) => child.kill("SIGKILL")],
      [({ event }) => event === "began", () => void rig.server.pause(1500)],
      [({ event }) => event === "began", () => void rig.server.restart()],
    ];
    const codes: (number | null)[] = [];
    for (let run = 1; run <= 15 && codes.at(-1) !== 0; run++) {
      const begun = start(["merge", there ?? "", OUT, ...LARGE, "--json"], {
        environment,
        onEvent: (event, child) => {
          const now = troubles.findIndex(([when]) => when(event));
          for (const [, act] of now < 0 ? [] : troubles.splice(now, 1)) act(child);
        },
      });
      control.isOn = run < 10;
      codes.push((await begun.ended).code);
      const way = join(OUT, "model.safetensors.index.json");
      if (codes.at(-1) !== 0 && (await rig.objects.identity(way)) !== undefined)
        expect(named(comparable(await objectsBelow(rig.objects, OUT)))).toMatchObject(expected);
    }
    expect(codes.filter((code) => code === null).length, codes.join(" ")).toBeGreaterThanOrEqual(2);
    expect(troubles).toEqual([]);
    expect(codes.at(-1), codes.join(" ")).toBe(0);
    expect(named(comparable(await objectsBelow(rig.objects, OUT)))).toEqual(expected);
    expect(await rig.objects.listUploads(placeOf("s3://out"))).toEqual([]);
  },
  300_000,
);

test.each(["plain", "TLS"])(
  "every example is merged from bucket to bucket with the bytes of the same merge here: %s",
  async (how) => {
    const rig = await begin({ isSecure: how === "TLS" });
    for (const model of readdirSync(MODELS, { withFileTypes: true }).filter((entry) => entry.isDirectory()))
      for (const name of readdirSync(joinPath(MODELS, model.name)))
        await rig.objects.put(
          placeOf(`s3://models/${model.name}/${name}`),
          readFileSync(joinPath(MODELS, model.name, name)),
        );
    const names = readdirSync(RECIPES).filter((name) => name.endsWith(".yml"));
    const recipes = joinPath(rig.folder, "recipes");
    mkdirSync(recipes);
    useEnvironment(rig.environment);
    for (const name of names) {
      const text = readFileSync(joinPath(RECIPES, name), "utf8");
      const recipe = joinPath(recipes, name);
      writeFileSync(recipe, text.replaceAll("../models/", "s3://models/"));
      const out = placeOf(`s3://out/${name}`);
      const settings = { ...defaultsOf("merge"), threads: 1, recipe, out };
      const end = await runMerge(settings, { planned: () => quiet, ended: () => {}, onStop: () => {} });
      expect([end.outcome, end.cause], name).toEqual(["done", undefined]);
      const here = joinPath(rig.folder, name);
      expect((await runMergeHere(text, here, { models: RECIPES })).outcome.outcome).toBe("done");
      const found = await objectsBelow(rig.objects, out);
      // These name the models by where they are.
      const named = ({ "mergekit_config.yml": _recipe, "README.md": _card, ...others }: Record<string, string>) =>
        others;
      expect(named(comparable(found)), name).toEqual(named(comparable(contentsOf(here))));
    }
  },
  400_000,
);

const quiet = { began: () => {}, progress: () => {}, warning: () => {}, counted: () => {} };

/** Of this process, in which threads have it too. */
function useEnvironment(environment: Readonly<Record<string, string>>): void {
  const before = { ...process.env };
  Object.assign(process.env, environment);
  onTestFinished(() => {
    // In place: threads have what the process was begun with, and what was set in that.
    for (const name of Object.keys(environment)) delete process.env[name];
    Object.assign(process.env, before);
  });
}
