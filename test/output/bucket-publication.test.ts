import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join as joinPath } from "node:path";
import { expect, test } from "vitest";
import { BucketPublication, FinishedOutput, maybeOutputFiles, ObjectOutput, verifyOutput } from "../../output/index.ts";
import {
  FileStore,
  join,
  nameOf,
  type Objects,
  PART_MIN_BYTES,
  type Place,
  placeOf,
  readWhole,
  type StorageError,
} from "../../storage/index.ts";
import { MemoryObjects } from "../support/memory-objects.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { Crash, contentsOf, crashingObjects, FakeOutput, sha256 } from "./fake-output.ts";

const TO = placeOf("mem://bucket/prefix");

async function finished(output: FakeOutput): Promise<FinishedOutput> {
  return FinishedOutput.open(output.store, output.out, (await maybeOutputFiles(output.store, output.out))!);
}

/** Two outputs of several shards, and buckets. */
async function rig() {
  const fake = await new FakeOutput({ shardBytes: 300_000 }).publish();
  const other = await new FakeOutput({ shardBytes: 1_000_000, salt: 1 }).publish();
  const objects = new MemoryObjects();
  const publish = async (
    output: FakeOutput,
    { through = objects, ...options }: { through?: Objects; overwrite?: boolean; takeOver?: string } = {},
  ) =>
    (
      await BucketPublication.begin(through, { output: await finished(output), to: TO, overwrite: false, ...options })
    ).send();
  return { fake, other, objects, publish, here: contentsOf(fake.out) };
}

async function there(objects: Objects, folder: Place = TO, prefix = ""): Promise<Record<string, string>> {
  if ((await objects.identity(folder)) === undefined) return {};
  const found: Record<string, string> = {};
  for (const { name, kind } of await objects.list(folder)) {
    const path = `${prefix}${name}`;
    if (kind === "directory") Object.assign(found, await there(objects, join(folder, name), `${path}/`));
    else found[path] = sha256(await readWhole(objects, join(folder, name), 1e8));
  }
  return found;
}

async function codeOf(act: () => Promise<unknown>): Promise<string> {
  return act().then(
    () => "done",
    (error: StorageError) => error.code,
  );
}

/** Runs it with ever more changes that go well, until all do. Gives how many these are. */
async function crashing(
  objects: Objects,
  run: (through: Objects) => Promise<unknown>,
  after: number,
): Promise<boolean> {
  try {
    await run(crashingObjects(objects, after));
    return false;
  } catch (error) {
    if (!(error instanceof Crash)) throw error;
    return true;
  }
}

test("an output in a folder becomes the same one in a bucket, with nothing beside it", async () => {
  const { fake, objects, publish, here } = await rig();
  expect(await publish(fake)).toEqual({ url: TO, wasThere: false });
  expect(await there(objects)).toEqual(here);
  expect(await verifyOutput(objects, TO)).toMatchObject({ ok: true, notes: [] });
  expect(await objects.listUploads(TO)).toEqual([]);
  // Where nothing may be changed, nothing needs to be.
  expect(await publish(fake, { through: crashingObjects(objects, 0) })).toEqual({ url: TO, wasThere: true });
});

test("begun again after a crash at any change it ends the same, and nothing half can be read", async () => {
  const { fake, publish, here } = await rig();
  for (let after = 0; ; after++) {
    const objects = new MemoryObjects();
    const crashed = await crashing(objects, (through) => publish(fake, { through }), after);
    const seen = await there(objects);
    if (seen["model.safetensors.index.json"] !== undefined) {
      const { SHA256SUMS: _, ...all } = here;
      expect(seen).toMatchObject(all);
    }
    await publish(fake, { through: objects });
    expect(await there(objects)).toEqual(here);
    expect(await objects.listUploads(join(TO, ".deltaworks"))).toEqual([]);
    if (!crashed) return expect(after).toBeGreaterThan(30);
  }
});

test("another output is replaced if that is asked for, and a crash at any change leaves what the next one ends", async () => {
  const { fake, other, objects: first, publish, here } = await rig();
  await publish(other);
  expect(await codeOf(() => publish(fake))).toBe("publish/not-empty");
  expect(await there(first)).toEqual(contentsOf(other.out));
  for (let after = 0; ; after++) {
    const objects = new MemoryObjects();
    await publish(other, { through: objects });
    const crashed = await crashing(objects, (through) => publish(fake, { through, overwrite: true }), after);
    const seen = await there(objects);
    const names = Object.keys(seen).filter((name) => /^model\.safetensors(?:\.index\.json)?$/.test(name));
    // Whoever finds a way in finds all that it leads to.
    if (names.includes("model.safetensors")) expect(names).toEqual(["model.safetensors"]);
    if (names.includes("model.safetensors.index.json")) {
      const { SHA256SUMS: _, ...all } = here;
      expect(seen).toMatchObject(all);
    }
    await publish(fake, { through: objects, overwrite: true });
    expect(await there(objects)).toEqual(here);
    if (!crashed) return expect(after).toBeGreaterThan(40);
  }
});

test("files that nobody's records list are not replaced", async () => {
  const { fake, other, objects, publish } = await rig();
  await publish(other);
  await objects.put(join(TO, "notes.txt"), Buffer.from("mine"));
  expect(await codeOf(() => publish(fake, { overwrite: true }))).toBe("publish/foreign-file");
});

test("an output of the same files and sizes is another one", async () => {
  const { fake, publish } = await rig();
  await publish(await new FakeOutput({ shardBytes: 300_000, salt: 2 }).publish());
  expect(await codeOf(() => publish(fake))).toBe("publish/not-empty");
});

test("what another job has not finished is given up if that is asked for, and nothing of it is taken", async () => {
  const { fake, publish, here } = await rig();
  const alike = await new FakeOutput({ shardBytes: 300_000, salt: 2 }).publish();
  for (const after of [3, 8, 12, 16, 20]) {
    const objects = new MemoryObjects();
    expect(await crashing(objects, (through) => publish(alike, { through }), after)).toBe(true);
    // Its claim went with its process, or not; here it went.
    await objects.remove(join(TO, ".deltaworks", "claim.json"));
    expect(await codeOf(() => publish(fake, { through: objects }))).toBe("publish/not-empty");
    await publish(fake, { through: objects, overwrite: true });
    expect(await there(objects)).toEqual(here);
  }
});

test("of two that write to one prefix the second waits, unless somebody knows that the first has ended", async () => {
  const { fake, objects, publish, here } = await rig();
  await new ObjectOutput(objects, TO).lock("somebody");
  const refused = await publish(fake).catch((error: StorageError) => error);
  expect(refused).toMatchObject({ code: "storage/locked" });
  const holder = /--take-over (\S+)/.exec((refused as StorageError).hint)?.[1];
  await publish(fake, holder === undefined ? {} : { takeOver: holder });
  expect(await there(objects)).toEqual(here);
});

test("parts that are there are not sent again, but for those whose bytes are others", async () => {
  const folder = temporaryFolder();
  const shard = Buffer.alloc(3 * PART_MIN_BYTES + 7, "0123456789abcdef");
  const files = [
    ["SHA256SUMS", Buffer.from("sums")],
    ["model.safetensors", shard],
  ] as const;
  for (const [name, bytes] of files) {
    mkdirSync(dirname(joinPath(folder, name)), { recursive: true });
    writeFileSync(joinPath(folder, name), bytes);
  }
  const listed = files.map(([name, bytes]) => ({ name, sizeBytes: bytes.length, sha256: sha256(bytes) }));
  const output = await FinishedOutput.open(new FileStore(), placeOf(folder), listed);
  const objects = new MemoryObjects();
  const options = { output, to: TO, overwrite: false, partBytes: PART_MIN_BYTES };
  const put: number[] = [];
  const told: unknown[] = [];
  const through = new Proxy<Objects>(objects, {
    get:
      (target, key: keyof Objects) =>
      (...args: unknown[]) => {
        if (key === "putPart") put.push(Number(args[2]));
        if (key === "putPart" && put.length > 3) throw new Crash();
        return (target[key] as (...all: unknown[]) => unknown).apply(target, args);
      },
  });
  const publish = async (store: Objects) =>
    (await BucketPublication.begin(store, options)).send({
      sending: (missing) => told.push(missing),
      sent: (bytes) => told.push(bytes),
    });
  await expect(publish(through)).rejects.toBeInstanceOf(Crash);
  // One of those that came is another one now.
  const [upload] = await objects.listUploads(TO);
  expect(nameOf(upload!.place)).toBe("model.safetensors");
  const damaged = put.slice(0, 3).find((number) => number <= 3)!; // one that is not the last, and short
  await objects.putPart(upload!.place, upload!.upload, damaged, Buffer.alloc(PART_MIN_BYTES));
  told.length = 0;
  const before = [...put];
  const sent: number[] = [];
  await publish(
    new Proxy<Objects>(objects, {
      get:
        (target, key: keyof Objects) =>
        (...args: unknown[]) => {
          if (key === "putPart" && !String(args[0]).endsWith(".probe")) sent.push(Number(args[2]));
          return (target[key] as (...all: unknown[]) => unknown).apply(target, args);
        },
    }),
  );
  expect(sent.toSorted()).toEqual([damaged, before[3]].toSorted());
  expect(told[0]).toMatchObject({ files: 1, ofFiles: 1 });
  expect(sha256(await readWhole(objects, join(TO, "model.safetensors"), 1e8))).toBe(sha256(shard));
});
