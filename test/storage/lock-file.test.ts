import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, test, vi } from "vitest";
import { isKernelLocked } from "../../storage/file/lock-holder.ts";
import { FileStore, placeOf } from "../../storage/index.ts";
import { compileInto } from "../support/compile.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const store = new FileStore();

/** Runs before a hard link is made: what another process does at that moment. */
const meanwhile = vi.hoisted(() => ({ act: (_target: string): void => {} }));

vi.mock("node:fs/promises", async (original) => {
  const real = await original<typeof import("node:fs/promises")>();
  const link: typeof real.link = (from, to) => {
    meanwhile.act(String(to));
    return real.link(from, to);
  };
  return { ...real, link };
});

test("is exclusive while it is held, names the holder, and leaves nothing behind", async () => {
  const folder = temporaryFolder();
  const path = placeOf(join(folder, "lock"));
  const lock = await store.lock(path);
  await expect(store.lock(path)).rejects.toMatchObject({
    code: "storage/locked",
    message: expect.stringContaining(`process ${process.pid}`),
  });
  await lock.release();
  expect(readdirSync(folder)).toEqual([]);
  await (await store.lock(path)).release();
});

test("does not remove the lock of another when it is released late", async () => {
  const path = placeOf(join(temporaryFolder(), "lock"));
  const lock = await store.lock(path);
  writeFileSync(path, "1-1x1-0123456789abcdef");
  await lock.release();
  expect(existsSync(path)).toBe(true);
});

test.each([
  ["a process number that nobody has", "4999999-00000000x12345-0123456789abcdef"],
  ["our own number, started at another time", `${process.pid}-00000000x1-0123456789abcdef`],
  ["nothing, as after a loss of power", ""],
  ["what no program of ours wrote", "../../x\0/ \n"],
])("is taken over when the file holds %s", async (_what, content) => {
  const folder = temporaryFolder();
  const path = placeOf(join(folder, "lock"));
  writeFileSync(path, content);
  const lock = await store.lock(path);
  expect(readFileSync(path, "latin1").startsWith(`${process.pid}-`)).toBe(true);
  expect(readdirSync(folder)).toEqual(["lock"]);
  await lock.release();
});

test("succeeds an heir that died before it was the holder, and sweeps what the dead left", async () => {
  const folder = temporaryFolder();
  const path = placeOf(join(folder, "lock"));
  const [holder, heir] = ["4999999-00000000x1-aaaaaaaaaaaaaaaa", "4999998-00000000x2-bbbbbbbbbbbbbbbb"];
  writeFileSync(path, holder);
  writeFileSync(`${path}.${holder}.heir`, heir);
  writeFileSync(`${path}.${heir}.new`, heir);
  writeFileSync(`${path}.unrelated`, "");
  const lock = await store.lock(path);
  expect(readdirSync(folder)).toEqual(["lock", "lock.unrelated"]);
  await lock.release();
});

test("among many that find a dead holder's lock at once exactly one takes it over", async () => {
  const path = placeOf(join(temporaryFolder(), "lock"));
  for (let round = 0; round < 30; round++) {
    writeFileSync(path, `4999999-00000000x1-${String(round).padStart(16, "0")}`);
    const results = await Promise.allSettled(Array.from({ length: 8 }, () => store.lock(path)));
    const locks = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
    expect(locks).toHaveLength(1);
    for (const result of results) {
      if (result.status === "rejected") expect(result.reason).toMatchObject({ code: "storage/locked" });
    }
    await locks[0]?.release();
  }
});

test("steps back when another became the holder, and swept, between looking and succeeding", async () => {
  const folder = temporaryFolder();
  const path = placeOf(join(folder, "lock"));
  const other = await store.lock(path);
  const living = readFileSync(path, "latin1");
  writeFileSync(path, "4999999-00000000x1-aaaaaaaaaaaaaaaa");
  meanwhile.act = (target) => {
    if (target.endsWith(".heir")) writeFileSync(path, living);
  };
  await expect(store.lock(path)).rejects.toMatchObject({ code: "storage/locked" });
  meanwhile.act = () => {};
  expect(readFileSync(path, "latin1")).toBe(living);
  expect(readdirSync(folder)).toEqual(["lock"]);
  await other.release();
});

test("ends with the process that held it, however that ended", async () => {
  const folder = temporaryFolder();
  compileInto(folder, ["storage/index.ts"]);
  const path = placeOf(join(folder, "lock"));
  const script = `
    const { FileStore } = await import(${JSON.stringify(pathToFileURL(join(folder, "storage/index.js")).href)});
    await new FileStore().lock(${JSON.stringify(path)});
    process.stdout.write("held");
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await new Promise((resolve) => child.stdout.once("data", resolve));
  await expect(store.lock(path)).rejects.toMatchObject({ message: expect.stringContaining(`process ${child.pid}`) });
  await killed(child);
  await (await store.lock(path)).release();
});

async function killed(child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await ended;
}

test("a ticket is marked as one that the kernel locks too by one digit more, not by what its number begins with", () => {
  const holder = "12-5f0c91aax4711-4026531836";
  expect(isKernelLocked(`${holder}-f0123456789abcdef`)).toBe(true);
  expect(isKernelLocked(`${holder}-ff23456789abcdef0`)).toBe(true);
  for (const number of ["f123456789abcdef", "0123456789abcdef", "ffffffffffffffff"])
    expect(isKernelLocked(`${holder}-${number}`)).toBe(false);
});
