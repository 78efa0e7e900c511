/** `deltaworks publish`, of a merge that was made here, to an imitation of the Hub: by the built command, in a process of its own. */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { HubImitation } from "../support/hub/hub-imitation.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { type Ended, errorOf, MODELS, run, start } from "./cli-process.ts";

const TOKEN = "hf_canaryOfTheTests";
const RECIPE = `merge_method: linear
dtype: float32
models:
  - { model: ${join(MODELS, "tiny-base")}, parameters: { weight: 0.5 } }
  - { model: ${join(MODELS, "tiny-python")}, parameters: { weight: 0.5 } }
`;

let merged = "";

beforeAll(async () => {
  merged = mkdtempSync(join(tmpdir(), "deltaworks-test-"));
  writeFileSync(join(merged, "recipe.yml"), RECIPE);
  const { code, stderr } = await run([
    "merge",
    join(merged, "recipe.yml"),
    join(merged, "out"),
    "--shard-size",
    "1MiB",
  ]);
  expect(code, stderr).toBe(0);
});

afterAll(() => rmSync(merged, { recursive: true, force: true }));

/** A merge of several shards, and a Hub of small parts. */
async function rig() {
  const folder = temporaryFolder();
  const out = join(folder, "out");
  cpSync(join(merged, "out"), out, { recursive: true, preserveTimestamps: true });
  const hub = await HubImitation.start({ partBytes: 200_000 });
  hub.user(TOKEN);
  const environment = {
    HF_ENDPOINT: hub.url,
    HF_TOKEN: TOKEN,
    HF_HOME: folder,
    HF_HUB_OFFLINE: "",
    NO_PROXY: "127.0.0.1,localhost",
  };
  const publish = (args: readonly string[] = [], other: Readonly<Record<string, string>> = {}) =>
    start(["publish", out, "hf://owner/merged", ...args], { environment: { ...environment, ...other } });
  return { folder, out, hub, environment, publish };
}

function outputIn(out: string): Record<string, string> {
  const names = readdirSync(out).filter((name) => name !== ".deltaworks");
  return Object.fromEntries(names.sort().map((name) => [name, readFileSync(join(out, name), "latin1")]));
}

function contentsOf(hub: HubImitation, revision = "main"): Record<string, string> {
  const { ".gitattributes": _, ...contents } = hub.repositoryOf("owner/merged").contents(revision);
  return contents;
}

const puts = (hub: HubImitation) => hub.requests.filter(({ method, status }) => method === "PUT" && status === 200);

/** All that lies in files there, journals and logs too. */
function textBelow(folder: string): string {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  expect(names.map(({ name }) => name)).toContain("job.log");
  return names.map(({ parentPath, name }) => readFileSync(join(parentPath, name), "latin1")).join("\n");
}

function expectNoSecret({ stdout, stderr }: Ended): void {
  expect(stdout + stderr).not.toMatch(/canary|X-Amz|Signature/);
}

test("a merge is published, private, and the last line has its address; the same command again has nothing to do", async () => {
  const { out, hub, publish } = await rig();
  const first = await publish().ended;
  expect(first.stderr).toMatch(/verify .*\nmade .*, private\nsend .*large files/);
  expect(first.stdout).toMatch(
    new RegExp(`^done  ${hub.url}/owner/merged  private, commit [0-9a-f]{12}  [0-9.]+ s\\n$`),
  );
  expect(first.code).toBe(0);
  expect(contentsOf(hub)).toEqual(outputIn(out));
  expect(hub.repositoryOf("owner/merged").at("main")?.title).toBe("Merge of tiny-base and tiny-python");
  const sent = puts(hub).length;
  const second = await publish(["--json"]).ended;
  expect(second.events).toEqual([
    expect.objectContaining({ event: "published", url: `${hub.url}/owner/merged`, wasThere: true, isPrivate: true }),
  ]);
  expect([second.code, puts(hub).length]).toEqual([0, sent]);
  for (const ended of [first, second]) expectNoSecret(ended);
});

/** Three files are sent at once, of six parts at most: with more parts than these have, one file came whole. */
const ANSWERED = 19;

test("a process that was killed while it sent leaves nothing that is seen, and the next one sends the rest", async () => {
  const { out, hub, publish } = await rig();
  hub.break({ at: /^PUT \/uploads/, after: ANSWERED, does: "hang" });
  const killed = publish();
  await vi.waitFor(() => expect(puts(hub).length).toBe(ANSWERED), { timeout: 20_000 });
  killed.process.kill("SIGKILL");
  expectNoSecret(await killed.ended);
  expect([hub.repositoryOf("owner/merged").private, contentsOf(hub)]).toEqual([true, {}]);
  hub.mend();
  const before = hub.repositoryOf("owner/merged").objects.size;
  const again = await publish(["--json"]).ended;
  expect(again.code, again.stderr).toBe(0);
  const shards = Object.keys(outputIn(out)).filter((name) => name.endsWith(".safetensors"));
  expect(again.events.find(({ event }) => event === "sending")).toMatchObject({
    ...{ files: shards.length - before, ofFiles: shards.length },
  });
  expect(before).toBeGreaterThan(0);
  expect(contentsOf(hub)).toEqual(outputIn(out));
  expect(hub.repositoryOf("owner/merged").commits).toBe(2);
});

test("a merge to the Hub is made in a folder of the state, and published from there; again it goes on with either", async () => {
  const { folder, hub, environment } = await rig();
  const state = { XDG_STATE_HOME: join(folder, "state") };
  const merge = (to: string, ...args: readonly string[]) =>
    start(["merge", join(merged, "recipe.yml"), to, "--json", "--shard-size", "1MiB", ...args], {
      environment: { ...environment, ...state },
    });
  hub.repository("owner/taken").commit({ "model.safetensors": "old" });
  const refused = await merge("hf://owner/taken").ended;
  expect([refused.code, errorOf(refused)?.code]).toEqual([2, "publish/not-empty"]);
  expect(refused.events.map(({ event }) => event)).toEqual(["error"]);

  hub.break({ at: /^PUT \/uploads/, after: ANSWERED, does: "hang" });
  const killed = merge("hf://owner/merged");
  await vi.waitFor(() => expect(puts(hub).length).toBe(ANSWERED), { timeout: 20_000 });
  killed.process.kill("SIGKILL");
  await killed.ended;
  hub.mend();
  const again = await merge("hf://owner/merged").ended;
  expect(again.code, again.stderr).toBe(0);
  const done = again.events.find(({ event }) => event === "done");
  expect(again.events.at(-1)).toMatchObject({ event: "published", url: `${hub.url}/owner/merged`, wasThere: false });
  // Nothing was left to be computed.
  expect(done).toMatchObject({ slicesComputed: 0, out: expect.stringContaining(state.XDG_STATE_HOME) });
  expect(contentsOf(hub)).toEqual(outputIn(join(merged, "out")));
  expect(hub.repositoryOf("owner/merged").commits).toBe(2);

  const elsewhere = join(folder, "elsewhere");
  const other = await merge("hf://owner/merged@second", "--state", elsewhere).ended;
  expect(other.code, other.stderr).toBe(0);
  expect(other.events.find(({ event }) => event === "done")?.out).toContain(elsewhere);
  expect(contentsOf(hub, "second")).toEqual(outputIn(join(merged, "out")));
  for (const each of [refused, again, other]) expectNoSecret(each);
  for (const kept of [state.XDG_STATE_HOME, elsewhere]) expect(textBelow(kept)).not.toMatch(/canary|X-Amz|Signature/);
});

test("what cannot be sent is told, with the repository that was made for it", async () => {
  const { hub, publish } = await rig();
  hub.break({ at: /objects\/batch/, does: "refuse", status: 403, message: "Private repository storage limit reached" });
  const full = await publish().ended;
  expect([full.code, full.stderr]).toEqual([
    1,
    expect.stringMatching(/error storage\/over-limit .*storage limit reached/),
  ]);
  expect(full.stderr).toMatch(/kept .*owner\/merged was made, is private and does not hold the output/);
  expectNoSecret(full);
  const none = await publish(["--json"], { HF_TOKEN: "" }).ended;
  expect([none.code, errorOf(none)?.code]).toEqual([1, "storage/hub-login"]);
  const offline = await publish(["--json"], { HF_HUB_OFFLINE: "1" }).ended;
  expect([offline.code, errorOf(offline)?.code]).toEqual([1, "storage/hub-offline"]);
  const both = await publish(["--json", "--public", "--pull-request"]).ended;
  expect([both.code, errorOf(both)?.code]).toEqual([2, "options/value"]);
});

test("an output that is damaged is not sent", async () => {
  const { out, hub, publish } = await rig();
  const shard = readdirSync(out).find((name) => name.endsWith(".safetensors")) ?? "";
  const bytes = readFileSync(join(out, shard));
  bytes[bytes.length - 1]! ^= 1;
  writeFileSync(join(out, shard), bytes);
  const damaged = await publish().ended;
  expect([damaged.code, damaged.stdout]).toEqual([3, expect.stringContaining(`slice    ${shard}`)]);
  writeFileSync(join(out, "deltaworks.manifest.json"), "{}");
  expect((await publish().ended).code).toBe(3);
  rmSync(join(out, "deltaworks.manifest.json"));
  rmSync(join(out, "SHA256SUMS"));
  const unknown = await publish().ended;
  expect([unknown.code, unknown.stderr]).toEqual([
    3,
    expect.stringMatching(/^ {2}hint {2}Nothing was sent\. Merge again/),
  ]);
  expect(hub.requests.filter(({ method }) => method !== "GET")).toEqual([]);
});

test("there is nowhere else to publish to", async () => {
  const { folder, out } = await rig();
  const ended = await run(["publish", out, join(folder, "elsewhere"), "--json"]);
  expect([ended.code, errorOf(ended)?.code]).toEqual([2, "publish/target"]);
});
