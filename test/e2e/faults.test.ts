/** What can go wrong around a merge, in real processes: a clear error, nothing half published, and the way on. */
import { spawn } from "node:child_process";
import {
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  type CommandEvent,
  type Ended,
  errorOf,
  hashesOf,
  journalOf,
  MAIN,
  MODELS,
  run,
  slicesDone,
  start,
} from "./cli-process.ts";
import { STACKED_SIZES, stackedRecipe } from "./stacked-recipe.ts";

const scratch = mkdtempSync(join(tmpdir(), "deltaworks-faults-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const recipePath = join(scratch, "recipe.yml");
let expected: Record<string, string>;

let count = 0;
/** Of the running test: its models, which it may damage, and its output. */
let models: string;
let out: string;

beforeAll(async () => {
  writeFileSync(recipePath, stackedRecipe("merge_method: linear"));
  models = MODELS;
  const whole = join(scratch, "whole");
  const { code, stderr } = await merge(whole);
  expect(code, stderr).toBe(0);
  expected = hashesOf(whole);
});

beforeEach(() => {
  count++;
  models = join(scratch, `models-${count}`);
  out = join(scratch, `out-${count}`);
  for (const name of ["gpt2-base", "gpt2-python", "gpt2-prose"])
    cpSync(join(MODELS, name), join(models, name), { recursive: true, preserveTimestamps: true });
});

function argsOf(into: string, more: readonly string[]): string[] {
  return ["merge", recipePath, into, "--models-root", models, "--threads", "2", ...STACKED_SIZES, "--json", ...more];
}

function merge(into: string, ...more: string[]): Promise<Ended> {
  return run(argsOf(into, more));
}

/** Does something once, when so many slices are done, to the merge that runs. */
function mergeAnd(slices: number, act: (child: ReturnType<typeof start>["process"]) => void): Promise<Ended> {
  let done = false;
  const onEvent = (event: CommandEvent, child: ReturnType<typeof start>["process"]) => {
    if (done || !(Number(event.slicesDone) >= slices)) return;
    done = true;
    act(child);
  };
  return start(argsOf(out, []), { onEvent }).ended;
}

async function killedAt(slices: number): Promise<void> {
  const { signal } = await mergeAnd(slices, (child) => child.kill("SIGKILL"));
  expect(signal).toBe("SIGKILL");
  expect(slicesDone(out).size).toBeGreaterThanOrEqual(slices);
}

function expectError({ code, stderr, ...ended }: Ended, exit: number, error: string, ...said: readonly RegExp[]): void {
  expect(code, stderr).toBe(exit);
  const told = errorOf({ code, stderr, ...ended });
  expect(told?.code, stderr).toBe(error);
  for (const text of said) expect(told?.message).toMatch(text);
  expect(told?.hint).toMatch(/\w{3}/);
}

function expectNothingPublished(): void {
  expect(readdirSync(out).filter((name) => name !== ".deltaworks")).toEqual([]);
}

async function expectDone(...more: string[]): Promise<void> {
  const { code, stderr } = await merge(out, ...more);
  expect(code, stderr).toBe(0);
  expect(hashesOf(out)).toEqual(expected);
}

/** Another model of the same shapes in place of this one, under its name. */
function replaceModel(name = "gpt2-python"): string {
  const path = join(models, name, "model.safetensors");
  writeFileSync(`${path}.new`, changed(readFileSync(path)));
  renameSync(`${path}.new`, path);
  return path;
}

/** Another value near the end, finite: the last byte but one of an f32 holds mantissa. */
function changed(bytes: Buffer): Buffer {
  const at = bytes.length - 3;
  bytes[at] = bytes[at]! ^ 1;
  return bytes;
}

describe("an input that changes", () => {
  test("between crash and resume stops the merge, which names it; --restart merges what is there now", async () => {
    await killedAt(60);
    const path = replaceModel();
    expectError(await merge(out), 1, "merge/input-changed", /gpt2-python/, new RegExp(path), /inode/);
    expectNothingPublished();
    const restarted = await merge(out, "--restart");
    expect(restarted.code, restarted.stderr).toBe(0);
    expect(restarted.events.findLast(({ event }) => event === "done")?.slicesComputed).toBe(220);
    await merge(join(scratch, "changed"));
    expect(hashesOf(out)).toEqual(hashesOf(join(scratch, "changed")));
    expect(hashesOf(out)).not.toEqual(expected);
  });

  test("put back, with its time, lets the merge go on", async () => {
    const path = join(models, "gpt2-python", "model.safetensors");
    await killedAt(60);
    renameSync(path, `${path}.kept`);
    writeFileSync(path, changed(readFileSync(`${path}.kept`)));
    expectError(await merge(out), 1, "merge/input-changed", /gpt2-python/);
    renameSync(`${path}.kept`, path);
    await expectDone();
  });

  test.each([
    ["another file takes its place", () => replaceModel()],
    ["it is written over", () => overwriteByte(join(models, "gpt2-python", "model.safetensors"))],
  ] as const)("in the middle of a merge, as %s, stops it", async (_, change) => {
    expectError(await mergeAnd(20, change), 1, "merge/input-changed", /gpt2-python.*model\.safetensors/);
    expectNothingPublished();
    expectError(await merge(out), 1, "merge/input-changed", /gpt2-python/);
  });

  test("between plan and first read stops the merge before anything is computed from it", async () => {
    const ended = await mergeAnd(0, () => replaceModel("gpt2-base"));
    expectError(ended, 1, "merge/input-changed", /gpt2-base/);
    expectNothingPublished();
  });

  function overwriteByte(path: string): void {
    const bytes = changed(readFileSync(path));
    const file = openSync(path, "r+");
    writeSync(file, bytes, bytes.length - 3, 1, bytes.length - 3);
    closeSync(file);
  }
});

describe("an input that cannot be merged", () => {
  test("that is no file is named before anything is made", async () => {
    const path = join(models, "gpt2-prose", "model.safetensors");
    rmSync(path);
    mkdirSync(path);
    const ended = await merge(out);
    expect(ended.code, ended.stderr).toBe(2);
    expect(errorOf(ended)?.message).toMatch(/gpt2-prose/);
    expect(existsSync(out)).toBe(false);
  });

  test("that is cut short is named before anything is made", async () => {
    const path = join(models, "gpt2-prose", "model.safetensors");
    writeFileSync(path, readFileSync(path).subarray(0, -1000));
    const ended = await merge(out);
    expect(ended.code, ended.stderr).toBe(2);
    expect(errorOf(ended)).toMatchObject({
      code: "checkpoint/offsets-past-end",
      message: expect.stringMatching(/gpt2-prose/),
    });
    expect(existsSync(out)).toBe(false);
  });

  test("that holds NaN is named, with tensor and element; --allow-nonfinite lets it through", async () => {
    const { path, tensor, element } = putNaN();
    const ended = await merge(out);
    expectError(
      ended,
      1,
      "merge/nonfinite",
      /gpt2-python/,
      new RegExp(`${tensor.replaceAll(".", "\\.")} .*NaN at element ${element}$`),
    );
    expectNothingPublished();
    const other = join(scratch, "nonfinite");
    const allowed = await merge(other, "--allow-nonfinite");
    expect(allowed.code, allowed.stderr).toBe(0);
    expect(path).toContain("gpt2-python");
  });

  /** NaN as the sixth element of a tensor of f32. */
  function putNaN() {
    const path = join(models, "gpt2-python", "model.safetensors");
    const bytes = readFileSync(path);
    const headerBytes = Number(bytes.readBigUInt64LE(0));
    const header = JSON.parse(bytes.toString("utf8", 8, 8 + headerBytes));
    const tensor = Object.keys(header).find((name) => name.endsWith("h.1.mlp.c_fc.weight"))!;
    bytes.writeFloatLE(Number.NaN, 8 + headerBytes + header[tensor].data_offsets[0] + 5 * 4);
    writeFileSync(path, bytes);
    return { path, tensor, element: 5 };
  }
});

describe("a place to write that fails", () => {
  test("an output directory removed in the middle of a merge: a clear error, and the merge can be made anew", async () => {
    // Renamed, not removed file by file: the merge would make new files under the hands of the removal.
    const ended = await mergeAnd(30, () => renameSync(out, `${out}-removed`));
    expectError(ended, 1, "storage/not-found", /\.deltaworks/);
    await expectDone();
  });

  test("a limit on the size of files: storage/over-limit, and the merge goes on once there is room", async () => {
    // RLIMIT_FSIZE in blocks of 512 bytes or more: no shard of 300 kB can be made.
    const limited = await new Promise<{ code: number | null; stderr: string }>((resolve, reject) => {
      const command = ['ulimit -f 100 && exec "$@"', "sh", process.execPath, MAIN, ...argsOf(out, [])];
      const child = spawn("sh", ["-c", ...command], { stdio: ["ignore", "ignore", "pipe"] });
      let stderr = "";
      child.stderr.setEncoding("utf8").on("data", (text: string) => {
        stderr += text;
      });
      child.once("error", reject).once("close", (code) => resolve({ code, stderr }));
    });
    expect(limited.code, limited.stderr).toBe(1);
    expect(limited.stderr).toMatch(/"code":"storage\/over-limit".*model-\d+-of-.*safetensors/);
    expectNothingPublished();
    await expectDone();
  });
});

describe("a merge that is interrupted", () => {
  test.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("%s lets slices in flight finish, says how to go on and exits with %i", async (signal, exit) => {
    const ended = await mergeAnd(20, (child) => child.kill(signal));
    expect(ended.code, ended.stderr).toBe(exit);
    expect(ended.stderr).toMatch(/same command/);
    expectNothingPublished();
    const kept = slicesDone(out).size;
    expect(kept).toBeGreaterThanOrEqual(20);
    expect(kept).toBeLessThan(220);
    const resumed = await merge(out);
    expect(resumed.events.find(({ event }) => event === "began")).toMatchObject({ state: "resumed", slicesDone: kept });
    expect(hashesOf(out)).toEqual(expected);
  });

  test("while one process merges, another that wants the same directory is told who holds it", async () => {
    let second: Promise<Ended> | undefined;
    let pid = 0;
    const first = mergeAnd(20, (child) => {
      child.kill("SIGSTOP");
      pid = child.pid ?? 0;
      second = merge(out).finally(() => child.kill("SIGCONT"));
    });
    const { code, stderr } = await first;
    expect(code, stderr).toBe(0);
    expectError((await second)!, 1, "storage/locked", new RegExp(`process ${pid} `));
    expect(hashesOf(out)).toEqual(expected);
  });
});

describe("an output directory that is there already", () => {
  test("with files of somebody else is refused, and --overwrite refuses to remove them, naming them", async () => {
    mkdirSync(out);
    writeFileSync(join(out, "thesis.txt"), "irreplaceable");
    expectError(await merge(out), 2, "publish/not-empty", /thesis\.txt/);
    expectError(await merge(out, "--overwrite"), 2, "publish/foreign-file", /thesis\.txt/);
    expect(readdirSync(out)).toEqual(["thesis.txt"]);
  });

  test("with this same merge, finished, says so and does nothing", async () => {
    await expectDone();
    const before = journalOf(out).length;
    const again = await merge(out);
    expect(again.code, again.stderr).toBe(0);
    expect(again.events.find(({ event }) => event === "began")).toMatchObject({ state: "complete", slicesDone: 220 });
    expect(again.events.findLast(({ event }) => event === "done")).toMatchObject({ slicesComputed: 0 });
    expect(journalOf(out)).toHaveLength(before);
  });

  test("with another merge, finished, is refused; --overwrite replaces what that one published, and no more", async () => {
    const other = await merge(out, "--shard-size", "1MB");
    expect(other.code, other.stderr).toBe(0);
    const refused = await merge(out);
    expect(refused.code, refused.stderr).toBe(2);
    expect(hashesOf(out)).not.toEqual(expected);
    writeFileSync(join(out, "notes.md"), "mine");
    expectError(await merge(out, "--overwrite"), 2, "publish/foreign-file", /notes\.md/);
    rmSync(join(out, "notes.md"));
    await expectDone("--overwrite");
  });

  test("keeps the old checkpoint whole until the new one is published", async () => {
    const other = await merge(out, "--shard-size", "1MB");
    expect(other.code, other.stderr).toBe(0);
    const old = hashesOf(out);
    let seen: Record<string, string> | undefined;
    const onEvent = (event: CommandEvent, child: ReturnType<typeof start>["process"]) => {
      if (seen !== undefined || !(Number(event.slicesDone) >= 100)) return;
      seen = hashesOf(out);
      child.kill("SIGKILL");
    };
    await start(argsOf(out, ["--overwrite"]), { onEvent }).ended;
    expect(seen).toEqual(old);
    // The same command goes on: what it replaces is still recorded.
    const resumed = await merge(out, "--overwrite");
    expect(resumed.code, resumed.stderr).toBe(0);
    expect(resumed.events.find(({ event }) => event === "began")?.state).toBe("resumed");
    expect(hashesOf(out)).toEqual(expected);
  });
});

describe("a merge that is half done", () => {
  test.each([
    ["--random-seed", ["--random-seed", "7"]],
    ["--slice-size", ["--slice-size", "2MiB"]],
    ["--shard-size", ["--shard-size", "1MB"]],
    ["--allow-nonfinite", ["--allow-nonfinite"]],
  ] as const)("is not gone on with under another %s, which the error names", async (option, more) => {
    await killedAt(30);
    expectError(await merge(out, ...more), 2, "coordinator/other-job", new RegExp(`${option} was`));
    const kept = slicesDone(out).size;
    expect(kept).toBeGreaterThanOrEqual(30);
    await expectDone();
  });

  test("goes on with other threads, memory and engine, to the same bytes", async () => {
    await killedAt(150);
    const threads = await mergeInterrupted(["--threads", "3", "--memory", "300MB"], 180);
    expect(threads?.state).toBe("resumed");
    const engine = await merge(out, "--engine", "reference", "--threads", "1");
    expect(engine.events.find(({ event }) => event === "began")).toMatchObject({ state: "resumed" });
    expect(engine.code, engine.stderr).toBe(0);
    expect(hashesOf(out)).toEqual(expected);
  });

  test("begins anew with --restart, with other options too", async () => {
    await killedAt(30);
    const restarted = await merge(out, "--restart", "--shard-size", "1MB");
    expect(restarted.code, restarted.stderr).toBe(0);
    expect(restarted.events.find(({ event }) => event === "began")).toMatchObject({ state: "fresh", slicesDone: 0 });
    const other = join(scratch, "one-megabyte");
    await merge(other, "--shard-size", "1MB");
    expect(hashesOf(out)).toEqual(hashesOf(other));
  });

  async function mergeInterrupted(more: readonly string[], slices: number): Promise<CommandEvent | undefined> {
    const onEvent = (event: CommandEvent, child: ReturnType<typeof start>["process"]) => {
      if (Number(event.slicesDone) >= slices) child.kill("SIGKILL");
    };
    const { events } = await start(argsOf(out, more), { onEvent }).ended;
    return events.find(({ event }) => event === "began");
  }
});
