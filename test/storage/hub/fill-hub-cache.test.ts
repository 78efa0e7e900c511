import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect, onTestFinished, test, vi } from "vitest";
import { HttpRanges } from "../../../storage/http/http-ranges.ts";
import { type CacheFilling, fillHubCache } from "../../../storage/hub/fill-hub-cache.ts";
import { HubSource } from "../../../storage/hub/hub-source.ts";
import { FileStore, placeOf } from "../../../storage/index.ts";
import { HubImitation } from "../../support/hub/hub-imitation.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

/** Longer than what is fetched at once, four times over. */
const LONG = Buffer.alloc(33 * 2 ** 20 + 5, "weights of which no two pieces of eight megabytes are alike, ");
const SHORT = LONG.subarray(0, 1000);

async function rig(weights: Buffer = SHORT) {
  const hub = await HubImitation.start();
  const repository = hub.repository("owner/name");
  const commit = repository.commit({
    ...{ "config.json": "{}", "model.safetensors": weights, "sub/deep/a.jinja": "x", "empty.txt": "" },
    "pytorch_model.bin": "not wanted",
  });
  const source = new HubSource({
    http: new HttpRanges({ firstPauseMs: 1, environment: {} }),
    files: new FileStore(),
    environment: { HF_ENDPOINT: hub.url, HOME: temporaryFolder() },
  });
  const cache = temporaryFolder();
  const fetched: string[] = [];
  const fill = (more: Partial<CacheFilling> = {}) =>
    fillHubCache(source, placeOf(`hf://owner/name@${commit}`), {
      ...{ cache: placeOf(cache), model: { id: "owner/name", revision: commit, path: "" }, ref: "main" },
      ...{ wants: (path) => !path.endsWith(".bin"), fetching: (path) => fetched.push(path), ...more },
    });
  const own = join(cache, "models--owner--name");
  return { hub, repository, commit, cache, own, fill, fetched };
}

test("bytes are in blobs, names in the snapshot, and the branch in refs", async () => {
  const { commit, cache, own, fill, fetched } = await rig(LONG);
  await fill();
  const snapshot = join(own, "snapshots", commit);
  const files = (readdirSync(snapshot, { recursive: true }) as string[]).sort();
  expect(files).toEqual(["config.json", "empty.txt", "model.safetensors", "sub", "sub/deep", "sub/deep/a.jinja"]);
  expect(readFileSync(join(snapshot, "model.safetensors")).equals(LONG)).toBe(true);
  expect(readlinkSync(join(snapshot, "model.safetensors"))).toMatch(/^\.\.\/\.\.\/blobs\/[0-9a-f]{64}$/);
  expect(readlinkSync(join(snapshot, "sub/deep/a.jinja"))).toMatch(/^\.\.\/\.\.\/\.\.\/\.\.\/blobs\/[0-9a-f]{40}$/);
  expect(readFileSync(join(own, "refs", "main"), "utf8")).toBe(commit);
  expect(readdirSync(join(own, "blobs"))).toHaveLength(4);
  expect(readFileSync(join(cache, "CACHEDIR.TAG"), "utf8")).toMatch(/^Signature: 8a477f597d28d172789f06886806bc55\n/);
  expect(fetched.sort()).toEqual(["config.json", "empty.txt", "model.safetensors", "sub/deep/a.jinja"]);
});

test("what is there is not fetched again, and a branch that moved is", async () => {
  const { hub, commit, own, fill, fetched } = await rig();
  await fill();
  fetched.length = 0;
  const before = hub.requests.filter(({ origin }) => origin === "storage").length;
  await fill({ ref: "v1/tag" });
  expect(fetched).toEqual([]);
  expect(hub.requests.filter(({ origin }) => origin === "storage")).toHaveLength(before);
  expect(readFileSync(join(own, "refs", "v1", "tag"), "utf8")).toBe(commit);
  writeFileSync(join(own, "refs", "main"), "f".repeat(40));
  await fill();
  expect(readFileSync(join(own, "refs", "main"), "utf8")).toBe(commit);
});

test("what is damaged on the way gets no name, and nothing of it is left", async () => {
  const { hub, commit, own, fill } = await rig();
  hub.damage("storage");
  await expect(fill()).rejects.toMatchObject({ code: "storage/hash" });
  expect(existsSync(join(own, "snapshots", commit, "model.safetensors"))).toBe(false);
  expect(existsSync(join(own, "refs"))).toBe(false);
  for (const name of readdirSync(join(own, "blobs"))) expect(name).toMatch(/^[0-9a-f]{40}$/);
});

test("whoever fetches the same file is waited for, by its lock", async () => {
  const { hub, cache, own, fill, fetched } = await rig();
  const locks = join(cache, ".locks", "models--owner--name");
  mkdirSync(locks, { recursive: true });
  const sha256 = createHash("sha256").update(SHORT).digest("hex");
  const lock = join(locks, `${sha256}.lock`);
  // Another process has it until its input ends, and puts the file in place meanwhile.
  const other = spawn("flock", [lock, "sh", "-c", "echo held; cat > /dev/null"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  onTestFinished(() => void other.kill());
  await once(other.stdout, "data");
  const filling = fill({ wants: (path) => path === "model.safetensors" });
  await vi.waitUntil(() => hub.requests.some(({ path }) => path.includes("/tree/")));
  await delay(300); // whoever does not wait has begun to fetch it by then
  mkdirSync(join(own, "blobs"), { recursive: true });
  writeFileSync(join(own, "blobs", sha256), SHORT);
  other.stdin.end();
  await filling;
  expect(fetched).toEqual([]);
});
