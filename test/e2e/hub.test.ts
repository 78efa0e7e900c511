/** Models that are named as the Hub names them, read from an imitation of it: by the built command, in a process of its own. */
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { HubImitation, type HubOptions } from "../support/hub/hub-imitation.ts";
import { seededRandom } from "../support/seeded-random.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { writeSafetensors } from "../support/write-safetensors.ts";
import { type Ended, errorOf, hashesOf, type StartOptions, start } from "./cli-process.ts";

const TOKEN = "hf_canaryOfTheTests";
const NAMES = ["base", "one", "two"];
const RECORDS = ["SHA256SUMS", "deltaworks.manifest.json"];

const RECIPE = `merge_method: ties
base_model: owner/base
parameters: { lambda: 0.6 }
models:
  - { model: owner/one@main, parameters: { weight: 0.5, density: 0.5 } }
  - { model: hf://owner/two, parameters: { weight: 0.5, density: 0.5 } }
`;

const LAYERS = 2;
const WIDTH = 128;

/** A model of two layers, a shard each. Another `version` has other numbers, and heads that are the same: and so is its plan. */
function filesOf(model: string, version = 1): Record<string, Buffer> {
  const next = seededRandom(NAMES.indexOf(model) + 10 * version);
  const folder = temporaryFolder();
  const map: Record<string, string> = {};
  for (let layer = 0; layer < LAYERS; layer++) {
    const file = `model-0000${layer + 1}-of-0000${LAYERS}.safetensors`;
    const tensors = ["gate", "up", "down"].map((part) => {
      const name = `model.layers.${layer}.mlp.${part}_proj.weight`;
      map[name] = file;
      const bytes = new Uint8Array(Float32Array.from({ length: WIDTH * WIDTH }, () => next() - 0.5).buffer);
      return { name, dtype: "F32", shape: [WIDTH, WIDTH], bytes };
    });
    writeSafetensors(join(folder, file), tensors);
  }
  const config = { architectures: ["LlamaForCausalLM"], model_type: "llama", num_hidden_layers: LAYERS };
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  writeFileSync(join(folder, "generation_config.json"), '{"bos_token_id":1}');
  writeFileSync(join(folder, "model.safetensors.index.json"), JSON.stringify({ metadata: {}, weight_map: map }));
  return Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]));
}

class Rig {
  readonly folder = temporaryFolder();
  readonly hub: HubImitation;
  readonly commits = new Map<string, string>();

  private constructor(hub: HubImitation) {
    this.hub = hub;
    hub.user(TOKEN);
    for (const name of NAMES) {
      const options = { private: name === "one", gated: name === "two", members: [TOKEN] };
      this.commits.set(name, hub.repository(`owner/${name}`, options).commit(filesOf(name)));
    }
    writeFileSync(this.path("recipe.yml"), RECIPE);
    mkdirSync(this.path("home"));
  }

  static async begin(options: HubOptions = {}): Promise<Rig> {
    return new Rig(await HubImitation.start(options));
  }

  path(...names: string[]): string {
    return join(this.folder, ...names);
  }

  run(args: readonly string[], environment: Record<string, string> = {}, more: StartOptions = {}): Promise<Ended> {
    const home = this.path("home");
    const here = { HOME: home, HF_HOME: home, HF_ENDPOINT: this.hub.url, HF_HUB_OFFLINE: "", HF_TOKEN: TOKEN };
    return start(args, { cwd: this.folder, environment: { ...here, ...environment }, ...more }).ended;
  }

  merge(out: string, ...more: string[]): Promise<Ended> {
    return this.run(["merge", "recipe.yml", out, "--threads", "2", "--json", ...more]);
  }

  /** Other weights on every branch, under the same names. */
  moveOn(): void {
    for (const name of NAMES) this.hub.repositoryOf(`owner/${name}`).commit(filesOf(name, 2));
  }

  /** As `hf download` leaves the models in the cache, but for the links. */
  fillCache(): void {
    for (const [name, commit] of this.commits) {
      const repository = this.path("home", "hub", `models--owner--${name}`);
      const snapshot = join(repository, "snapshots", commit);
      for (const made of [snapshot, join(repository, "refs")]) mkdirSync(made, { recursive: true });
      for (const [file, bytes] of Object.entries(filesOf(name))) writeFileSync(join(snapshot, file), bytes);
      writeFileSync(join(repository, "refs", "main"), commit);
    }
  }

  hashes(out: string, without: readonly string[] = []): Record<string, string> {
    return Object.fromEntries(Object.entries(hashesOf(this.path(out))).filter(([name]) => !without.includes(name)));
  }

  /** All that a command left or said. */
  everything(out: string, { stdout, stderr }: Ended): string {
    const names = (readdirSync(this.path(out), { recursive: true }) as string[]).filter((name) =>
      statSync(this.path(out, name)).isFile(),
    );
    return [stdout, stderr, ...names.map((name) => readFileSync(this.path(out, name), "latin1"))].join("\n");
  }
}

describe("a merge of models on the Hub", () => {
  test("is that of the same models in the Hub's cache, and says from which commits it is", async () => {
    const rig = await Rig.begin();
    const plan = await rig.run(["plan", "recipe.yml"]);
    expect(plan.code, plan.stderr).toBe(0);
    const merged = await rig.merge("far");
    expect(merged.code, merged.stderr).toBe(0);
    const sources = NAMES.map((name) => `hf://owner/${name}@${rig.commits.get(name)}`);
    for (const source of sources) expect(plan.stdout).toContain(source);
    const manifest = JSON.parse(readFileSync(rig.path("far", "deltaworks.manifest.json"), "utf8"));
    expect(manifest.inputs.map(({ source }: { source: string }) => source)).toEqual(sources);
    // Neither the token nor an address that is as good as one.
    expect(rig.everything("far", merged)).not.toMatch(/canary|X-Amz/);
    expect(rig.hub.requests.filter(({ origin, token }) => origin === "storage" && token !== undefined)).toEqual([]);
    // Once in each of the two commands, however many threads read it.
    const asked = rig.hub.requests.filter(({ path }) => path.includes("/resolve/") && path.endsWith(".safetensors"));
    expect(asked).toHaveLength(2 * NAMES.length * LAYERS);
    expect((await rig.run(["verify", "far"])).code).toBe(0);

    rig.fillCache();
    const before = rig.hub.requests.length;
    expect((await rig.merge("near")).code).toBe(0);
    expect(rig.hub.requests.slice(before)).toEqual([]);
    expect(rig.hashes("far", RECORDS)).toEqual(rig.hashes("near", RECORDS));
  });

  test("goes on with the commits that it began with, whatever the branches are by then", async () => {
    const rig = await Rig.begin();
    expect((await rig.merge("reference")).code).toBe(0);
    const killed = await rig.run(
      ["merge", "recipe.yml", "out", "--threads", "1", "--slice-size", "64KiB", "--json"],
      {},
      {
        onEvent: ({ event, slicesDone }, child) =>
          event === "progress" && Number(slicesDone) > 0 && child.kill("SIGKILL"),
      },
    );
    expect(killed.signal).toBe("SIGKILL");
    rig.moveOn();
    const resumed = await rig.run(["merge", "recipe.yml", "out", "--slice-size", "64KiB", "--json"]);
    expect(resumed.code, resumed.stderr).toBe(0);
    const weights = (out: string) => rig.hashes(out)["model.safetensors"];
    expect(weights("out")).toBe(weights("reference"));
    // Begun anew it is of what is there now.
    const anew = await rig.merge("out", "--overwrite");
    expect(anew.code, anew.stderr).toBe(0);
    expect(weights("out")).not.toBe(weights("reference"));
  });

  test.each([
    ["its journal", [".deltaworks"], []],
    ["journal and manifest", [".deltaworks", "deltaworks.manifest.json"], ["deltaworks.manifest.json"]],
    ["journal and SHA256SUMS", [".deltaworks", "SHA256SUMS"], ["SHA256SUMS"]],
    ["nothing but bytes of the weights", [], []],
  ])("is repaired from the commits that it is of, where it lost %s", async (_what, lost, repaired) => {
    const rig = await Rig.begin();
    expect((await rig.merge("out")).code).toBe(0);
    const before = rig.hashes("out");
    rig.moveOn();
    const shard = rig.path("out", "model.safetensors");
    const bytes = readFileSync(shard);
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 255;
    writeFileSync(shard, bytes);
    for (const name of lost) rmSync(rig.path("out", name), { recursive: true });
    const repair = await rig.run(["repair", "out"]);
    expect(repair.code, repair.stderr).toBe(0);
    for (const name of repaired) expect(repair.stdout).toContain(name);
    expect(rig.hashes("out")).toEqual(before);
  });

  test("hashes its inputs as the Hub does, and refuses what is damaged on the way", async () => {
    const rig = await Rig.begin();
    expect((await rig.merge("out", "--hash-inputs")).code).toBe(0);
    rig.hub.damage("storage");
    const failed = await rig.merge("damaged", "--hash-inputs");
    expect(failed.code).toBe(1);
    expect(errorOf(failed)).toMatchObject({ code: "storage/hash" });
  });
});

test("with --fill-hub-cache models are fetched into the cache, told file by file, and read there, offline too", async () => {
  const rig = await Rig.begin();
  const filled = await rig.merge("out", "--fill-hub-cache");
  expect(filled.code, filled.stderr).toBe(0);
  const fetched = filled.events.filter(({ event }) => event === "fetching");
  expect(fetched.map(({ model, path }) => `${model} ${path}`).sort()).toEqual(
    NAMES.flatMap((name) => Object.keys(filesOf(name)).map((file) => `owner/${name} ${file}`)).sort(),
  );
  // Each file once: what was merged was read from the cache.
  expect(rig.hub.requests.filter(({ origin }) => origin === "storage")).toHaveLength(NAMES.length * LAYERS);
  rig.moveOn();
  const offline = await rig.run(["merge", "recipe.yml", "again"], { HF_HUB_OFFLINE: "1", HF_TOKEN: "" });
  expect(offline.code, offline.stderr).toBe(0);
  expect(rig.hashes("again")).toEqual(rig.hashes("out"));
});

test("what of a model is in the cache without its weights does not stand for it", async () => {
  const rig = await Rig.begin();
  const [name = ""] = NAMES;
  const snapshot = rig.path("home", "hub", `models--owner--${name}`, "snapshots", rig.commits.get(name) ?? "");
  mkdirSync(snapshot, { recursive: true });
  for (const file of ["config.json", "model.safetensors.index.json"])
    writeFileSync(join(snapshot, file), filesOf(name)[file] ?? "");
  mkdirSync(join(snapshot, "..", "..", "refs"));
  writeFileSync(join(snapshot, "..", "..", "refs", "main"), rig.commits.get(name) ?? "");
  expect((await rig.run(["inspect", `owner/${name}`])).code).toBe(0);
  expect(errorOf(await rig.run(["inspect", `owner/${name}`, "--json"], { HF_HUB_OFFLINE: "1" }))?.code).toBe(
    "checkpoint/shard-missing",
  );
});

test.each([
  ["owner/none", { HF_TOKEN: "" }, "storage/hub-login"],
  ["owner/none", {}, "storage/hub-model"],
  ["owner/one", { HF_TOKEN: "hf_wrong" }, "storage/hub-token"],
  ["owner/two", { HF_TOKEN: "" }, "storage/hub-gated"],
  ["owner/base@none", {}, "storage/hub-revision"],
  ["owner/base", { HF_HUB_OFFLINE: "1" }, "checkpoint/not-in-cache"],
])("inspect %s with %j says %s, and where it looked", async (model, environment, code) => {
  const rig = await Rig.begin();
  const failed = await rig.run(["inspect", model, "--json"], environment as Record<string, string>);
  expect(errorOf(failed)?.code).toBe(code);
  expect(`${failed.stdout}${failed.stderr}`).not.toMatch(/hf_/);
  if (code !== "storage/hub-gated")
    expect(errorOf(failed)?.message).toMatch(/no local path, and not in the Hub's cache/);
});

test("inspect and diff look at models on the Hub", async () => {
  const rig = await Rig.begin();
  const local = rig.path("local");
  mkdirSync(local);
  for (const [name, bytes] of Object.entries(filesOf("base"))) writeFileSync(join(local, name), bytes);
  expect((await rig.run(["inspect", "hf://owner/base@main"])).code).toBe(0);
  expect((await rig.run(["diff", "owner/base", local])).code).toBe(0);
  expect((await rig.run(["diff", "hf://owner/base/model-00001-of-00002.safetensors", local])).code).toBe(1);
});
