/** Locks between containers: processes in PID and network namespaces of their own that share a directory. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { judge } from "../../storage/file/lock-holder.ts";
import { FileStore, placeOf } from "../../storage/index.ts";
import { inNamespaces } from "../support/namespaces.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const store = new FileStore();
const door = JSON.stringify(new URL("../../dist/storage/index.js", import.meta.url).href);
const script = `
  const { FileStore } = await import(${door});
  const [path, owner, bare] = process.argv.slice(1);
  if (bare) process.env.PATH = "/nowhere";
  try {
    const lock = await new FileStore().lock(path, owner === "" ? {} : { owner });
    process.on("SIGTERM", () => lock.release().then(() => process.exit(0)));
    console.log(JSON.stringify({ held: true }));
    setInterval(() => {}, 1000);
  } catch ({ code, message, hint }) {
    console.log(JSON.stringify({ held: false, code, message, hint }));
  }`;

interface Tried {
  readonly held: boolean;
  readonly code?: string;
  readonly message?: string;
  readonly hint?: string;
}

class Container {
  readonly #child: ChildProcess;
  readonly tried: Promise<Tried>;
  readonly #ended: Promise<unknown>;

  constructor(path: string, { owner = "", bare = "" } = {}) {
    const [command = "", ...args] = [...inNamespaces(["pid", "net"]), process.execPath];
    this.#child = spawn(command, [...args, "--input-type=module", "-e", script, path, owner, bare], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#ended = new Promise((resolve) => this.#child.once("close", resolve));
    this.tried = new Promise((resolve, reject) => {
      let text = "";
      this.#child.stdout?.on("data", (bytes: Buffer) => {
        text += bytes;
        if (text.endsWith("\n")) resolve(JSON.parse(text));
      });
      this.#child.once("error", reject);
      void this.#ended.then(() => reject(new Error(`it said ${JSON.stringify(text)} and ended`)));
    });
    onTestFinished(() => this.killed());
  }

  /** The process inside, and not only what started it, stands still. */
  signal(signal: NodeJS.Signals): void {
    const inside = readFileSync(`/proc/${this.#child.pid}/task/${this.#child.pid}/children`, "latin1");
    for (const pid of inside.trim().split(" ")) process.kill(Number(pid), signal);
  }

  async killed(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#ended;
  }

  async stopped(): Promise<void> {
    this.signal("SIGTERM");
    await this.#ended;
  }
}

/** No command that asks the kernel, as in an image without util-linux: then nothing but the file speaks for a holder. */
const BARE = { bare: "1" };

describe("a lock that a process in another container holds", () => {
  test("is refused while that lives, standing still or not, and taken over when it was killed", async () => {
    const path = placeOf(join(temporaryFolder(), "lock"));
    const first = new Container(path);
    expect(await first.tried).toMatchObject({ held: true });
    expect(await new Container(path).tried).toMatchObject({ held: false, code: "storage/locked" });
    await expect(store.lock(path)).rejects.toMatchObject({ code: "storage/locked" });
    first.signal("SIGSTOP");
    expect(await new Container(path).tried).toMatchObject({ held: false, code: "storage/locked" });
    await first.killed();
    const next = new Container(path);
    expect(await next.tried).toMatchObject({ held: true });
    await expect(store.lock(path)).rejects.toMatchObject({ code: "storage/locked" });
    await next.killed();
    await (await store.lock(path)).release();
  });

  test("is not there any more once that has stopped cleanly", async () => {
    const folder = temporaryFolder();
    const first = new Container(join(folder, "lock"), BARE);
    expect(await first.tried).toMatchObject({ held: true });
    await first.stopped();
    expect(readdirSync(folder)).toEqual([]);
  });

  test("where its end cannot be proven it is refused, until somebody says by its name that it has ended", async () => {
    const path = placeOf(join(temporaryFolder(), "lock"));
    const first = new Container(path, BARE);
    expect(await first.tried).toMatchObject({ held: true });
    await first.killed();
    // The system gives numbers of namespaces out again; in one of the same number a dead holder is seen to be dead.
    const [ticket = "", ...lines] = readFileSync(path, "latin1").split("\n");
    writeFileSync(path, [ticket.replace(/-\d+-(?=\w+$)/, "-1-"), ...lines].join("\n"));
    const refused = await new Container(path).tried;
    expect(refused).toMatchObject({ held: false, code: "storage/locked" });
    expect(refused.message).toMatch(/another container or on another machine/);
    const [, name = ""] = /--take-over (\S+)$/.exec(refused.hint ?? "") ?? [];
    expect(name).toMatch(/^\d+-\w+-1@[\w.-]+$/);
    await expect(store.lock(path)).rejects.toMatchObject({ code: "storage/locked" });
    const ofAnother = new FileStore({ takeOver: name.replace(/^\d+/, "4999999") });
    await expect(ofAnother.lock(path)).rejects.toMatchObject({ code: "storage/locked" });
    const lock = await new FileStore({ takeOver: name }).lock(path);
    expect(readdirSync(dirname(path))).toEqual(["lock"]);
    await expect(store.lock(path)).rejects.toMatchObject({ code: "storage/locked" });
    await lock.release();
  });

  test("that is seen to run is taken over by nobody's word", async () => {
    const path = placeOf(join(temporaryFolder(), "lock"));
    const first = new Container(path);
    expect(await first.tried).toMatchObject({ held: true });
    const [ticket = "", host = ""] = readFileSync(path, "latin1").split("\n");
    const takeOver = `${ticket.slice(0, ticket.lastIndexOf("-"))}@${host}`;
    const refused = await new FileStore({ takeOver }).lock(path).catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: "storage/locked", hint: "Wait until that process ends, or stop it." });
  });

  test("is taken over for the same owner, and for no other", async () => {
    const path = placeOf(join(temporaryFolder(), "lock"));
    const first = new Container(path, { owner: "job 1" });
    expect(await first.tried).toMatchObject({ held: true });
    expect(await new Container(path, { owner: "job 2" }).tried).toMatchObject({ held: false });
    expect(await new Container(path).tried).toMatchObject({ held: false });
    const next = new Container(path, { owner: "job 1" });
    expect(await next.tried).toMatchObject({ held: true });
    // The first one lets go of what is no longer its own.
    await first.stopped();
    expect(existsSync(path)).toBe(true);
    await expect(store.lock(path)).rejects.toMatchObject({ code: "storage/locked" });
  });

  test("one of a version that did not say in which container it ran is refused in the boot that it was made in", async () => {
    const path = placeOf(join(temporaryFolder(), "lock"));
    const boot = readFileSync("/proc/sys/kernel/random/boot_id", "latin1").slice(0, 8);
    writeFileSync(path, `4999999-${boot}x12345-0123456789abcdef`);
    await expect(store.lock(path)).rejects.toMatchObject({ hint: expect.stringContaining("--take-over 4999999-") });
  });
});

const own = { boot: "b1", namespace: "1" };

test.each([
  ["another boot, a place of one kernel", { boot: "b0", namespace: "1" }, true, "unknown", "ended"],
  ["another boot or machine, a shared place", { boot: "b0", namespace: "1" }, false, "unknown", "hidden"],
  ["another container, the kernel keeps its lock", { boot: "b1", namespace: "2" }, true, "held", "running"],
  [
    "another container, the kernel keeps its lock, a shared place",
    { boot: "b1", namespace: "2" },
    false,
    "held",
    "running",
  ],
  ["another container, the kernel's lock is free", { boot: "b1", namespace: "2" }, true, "free", "ended"],
  [
    "another container, the kernel's lock is free, a shared place",
    { boot: "b1", namespace: "2" },
    false,
    "free",
    "hidden",
  ],
  ["another container, no kernel lock", { boot: "b1", namespace: "2" }, true, "unknown", "hidden"],
  ["a system that tells no boots", { boot: "", namespace: "" }, true, "unknown", "hidden"],
] as const)("of a holder in %s", (_, holder, ofThisKernel, kernelLock, expected) => {
  expect(judge({ holder, own, ofThisKernel, kernelLock })).toBe(expected);
});
