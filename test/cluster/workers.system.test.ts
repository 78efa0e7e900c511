/** A coordinator and workers in processes of their own. However they come and go, an output is what `deltaworks merge` makes. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type CommandEvent, hashesOf, MODELS, run, sha256 } from "../e2e/cli-process.ts";
import { STACKED_SIZES, stackedRecipe } from "../e2e/stacked-recipe.ts";
import { writeModels } from "../runtime/generated-models.ts";
import { oneOfEach, recipeOf } from "../runtime/method-variants.ts";
import type { Cli, SpawnOptions } from "../support/child-process.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { Rig } from "./rig.ts";

/** Random masks, three models of two dtypes; below a single root, so that one recipe serves both ways. */
const RECIPE = stackedRecipe("merge_method: della\nbase_model: gpt2-base\nparameters: {density: 0.5, epsilon: 0.2}");

/** Short, so that what is lost is soon lent anew. */
const TIMES = ["--lease", "3s", "--io-timeout", "1s"] as const;
const DEBUG = ["--log-level", "debug"] as const;

let reference: Promise<Record<string, string>> | undefined;
/** Of every file that `deltaworks merge` makes of RECIPE; once for all tests. */
function expected(): Promise<Record<string, string>> {
  reference ??= merge(RECIPE, MODELS, STACKED_SIZES).then(hashesOf);
  return reference;
}

async function merge(recipe: string, models: string, sizes: readonly string[]): Promise<string> {
  const folder = temporaryFolder();
  const [path, out] = [join(folder, "recipe.yml"), join(folder, "out")];
  writeFileSync(path, recipe);
  const { code, stderr } = await run(["merge", path, out, "--models-root", models, "--threads", "2", ...sizes]);
  expect(code, stderr).toBe(0);
  return out;
}

interface Cluster {
  readonly rig: Rig;
  readonly address: string;
  readonly coordinator: Cli;
  submit(name: string, recipe?: string): Cli;
  worker(name: string, args?: readonly string[], options?: SpawnOptions): Cli;
}

async function cluster(): Promise<Cluster> {
  const rig = new Rig();
  const { address, cli } = await rig.coordinator(TIMES);
  return {
    rig,
    address,
    coordinator: cli,
    submit: (name, recipe = RECIPE) => {
      const path = rig.path(`${name}.yml`);
      writeFileSync(path, recipe);
      return rig.submit(address, path, name);
    },
    worker: (name, args = [], options = {}) => rig.worker(address, name, [...DEBUG, ...args], options),
  };
}

/** As the log of a worker tells it. */
const did = (what: string, times = 1) => {
  return (cli: Cli) =>
    cli.until(() => cli.events.filter(({ msg }) => msg === what).length >= times, `${times} ${what}`);
};

async function expectDone(job: Cli, out: string): Promise<void> {
  expect((await job.ended).code, job.stdout.slice(-1500) + job.stderr).toBe(0);
  expect(hashesOf(out)).toEqual(await expected());
}

test("three workers make what one machine makes, and end when they are told to", async () => {
  const { submit, worker, rig } = await cluster();
  const workers = ["a", "b", "c"].map((name) => worker(name));
  await Promise.all(workers.map(did("attached")));
  await expectDone(submit("plain"), join(rig.out, "plain"));
  for (const one of workers) expect(one.events.some(({ msg }) => msg === "written")).toBe(true);
  for (const one of workers) one.terminate();
  for (const one of workers) expect((await one.ended).code, one.stderr).toBe(0);
});

test("a worker is killed: its slices go to the others", async () => {
  const { submit, worker, rig } = await cluster();
  const [victim] = [worker("victim"), worker("other")];
  await did("attached")(victim);
  const job = submit("killed");
  await did("written", 3)(victim);
  await victim.killed();
  await expectDone(job, join(rig.out, "killed"));
});

test("a worker stands still for longer than its leases and wakes up: nothing is harmed, and it works on", async () => {
  const { submit, worker, rig } = await cluster();
  const [sleeper] = [worker("sleeper"), worker("other")];
  await did("attached")(sleeper);
  const job = submit("frozen");
  await did("written", 3)(sleeper);
  sleeper.freeze();
  await expectDone(job, join(rig.out, "frozen"));
  sleeper.thaw();
  // It either goes on, or ends itself because a write stood still with it; then it is started again, as a service would be.
  const again = await Promise.race([
    did("attached", 2)(sleeper).then(() => sleeper),
    sleeper.ended.then(() => worker("sleeper")),
  ]);
  await expectDone(submit("after"), join(rig.out, "after"));
  expect(again.events.some(({ msg }) => msg === "attached")).toBe(true);
  expect(hashesOf(join(rig.out, "frozen"))).toEqual(await expected());
});

test("the coordinator is killed and started again: workers attach to it, and no slice that was done is computed again", async () => {
  const { submit, worker, rig, address, coordinator } = await cluster();
  const workers = ["a", "b", "c"].map((name) => worker(name));
  await Promise.all(workers.map(did("attached")));
  const job = submit("restart");
  await did("report-answered", 10)(workers[0]!);
  await coordinator.killed();
  const again = await rig.coordinator([...TIMES, "--listen", address]);
  await expectDone(job, join(rig.out, "restart"));
  expect(again.address).toBe(address);
});

/** So long that nothing would be granted within the test, were leases of the coordinator before waited for. */
const LONG = ["--lease", "30m", "--io-timeout", "10m"] as const;

test.each([
  ["killed", (coordinator: Cli) => coordinator.killed()],
  [
    "told to end",
    (coordinator: Cli) => {
      coordinator.terminate();
      return coordinator.ended;
    },
  ],
])("a coordinator that was %s grants again as soon as its workers are back, whatever leases last", async (_, end) => {
  const rig = new Rig();
  const { address, cli } = await rig.coordinator(LONG);
  const workers = ["a", "b"].map((name) => rig.worker(address, name, DEBUG));
  await Promise.all(workers.map(did("attached")));
  writeFileSync(rig.path("long.yml"), RECIPE);
  const job = rig.submit(address, rig.path("long.yml"), "long");
  await did("report-answered", 10)(workers[0]!);
  await end(cli);
  await rig.coordinator([...LONG, "--listen", address]);
  await expectDone(job, join(rig.out, "long"));
});

test("a worker that is told to end finishes what it has and hands back the rest; the job goes on without it", async () => {
  const { submit, worker, rig } = await cluster();
  const leaver = worker("leaver");
  const job = submit("drained");
  await did("written", 3)(leaver);
  leaver.terminate();
  expect((await leaver.ended).code, leaver.stderr).toBe(0);
  expect(leaver.events.some(({ msg }) => msg === "worker ends")).toBe(true);
  worker("other");
  await expectDone(job, join(rig.out, "drained"));
});

test("without grace a worker that is told to end hands everything back", async () => {
  const { submit, worker, rig } = await cluster();
  const leaver = worker("leaver", ["--grace", "0"]);
  const job = submit("graceless");
  await did("written", 3)(leaver);
  leaver.terminate();
  expect((await leaver.ended).code, leaver.stderr).toBe(0);
  worker("other");
  await expectDone(job, join(rig.out, "graceless"));
});

test("a thread that hangs does not look alive: its slice goes elsewhere, the thread is replaced", async () => {
  const { submit, worker, rig } = await cluster();
  const hanging = worker("hanging", [], {
    faults: [{ call: "open", path: "gpt2-prose/model.safetensors", thread: "worker", times: 1, do: "hang" }],
  });
  const job = submit("hung");
  await did("thread replaced")(hanging);
  expect(hanging.events.find(({ msg }) => msg === "thread replaced")).toMatchObject({ code: "worker/hung" });
  // By now its lease has lapsed. The thread that took its place hangs at the same file.
  worker("other");
  await expectDone(job, join(rig.out, "hung"));
});

test.each([
  ["sends its results", [], 2],
  ["offers its results", ["--listen", "127.0.0.1:0"], 3],
])("a worker without any root reads through the coordinator and %s", async (_, args, output) => {
  const { submit, rig, address } = await cluster();
  const name = args.length === 0 ? "sent" : "fetched";
  const bare = rig.bareWorker(address, "bare", [...DEBUG, ...args]);
  await expectDone(submit(name), join(rig.out, name));
  expect(bare.events.find(({ msg }) => msg === "job begins")).toMatchObject({ inputs: 2, output });
});

test("two jobs run side by side", async () => {
  const { submit, worker, rig } = await cluster();
  const workers = ["a", "b"].map((name) => worker(name));
  await Promise.all(workers.map(did("attached")));
  const jobs = ["first", "second"].map((name) => ({ name, job: submit(name) }));
  for (const { name, job } of jobs) await expectDone(job, join(rig.out, name));
  const written = workers.flatMap(({ events }) => events.filter(({ msg }) => msg === "written"));
  const times = groupTimes(written);
  const [first = [], second = []] = [...times.values()];
  expect(times.size).toBe(2);
  // Each had begun before the other was over, whichever worker did it.
  expect(Math.max(first[0] ?? 0, second[0] ?? 0)).toBeLessThan(Math.min(first.at(-1) ?? 0, second.at(-1) ?? 0));
});

/** When each job's slices were written, in order. */
function groupTimes(events: readonly CommandEvent[]): Map<unknown, number[]> {
  const times = new Map<unknown, number[]>();
  for (const { job, time } of events) times.set(job, [...(times.get(job) ?? []), Date.parse(String(time))]);
  for (const one of times.values()) one.sort((a, b) => a - b);
  return times;
}

/** Tensors of 2 and 5 blocks: with slices of one block every one of them is cut over several workers. */
const CUT_TENSORS = [
  { name: "two", shape: [702, 131], dtypes: ["BF16"], style: "quantised", models: "steps" },
  { name: "five", shape: [4 * 65_536 + 1031], dtypes: ["BF16"], style: "quantised", models: "steps" },
] as const;

test("tensors that are cut over workers, and again inside them for their memory, have the bits of the whole, by every method", async () => {
  const models = temporaryFolder();
  writeModels(models, 77, CUT_TENSORS);
  const rig = new Rig();
  const { address } = await rig.coordinatorOf(models, TIMES);
  // Too little memory for a survey of more than one block.
  for (const name of ["a", "b", "c"]) rig.workerOf(models, address, name, ["--memory", "160MiB"]);
  mkdirSync(rig.path("recipes"));
  const jobs = oneOfEach.map((variant, k) => {
    const path = rig.path(`recipes/${k}.yml`);
    const recipe = recipeOf({ ...variant, models: variant.models.slice(0, 2) }, "float32");
    writeFileSync(path, recipe);
    const job = rig.submitCut(address, path, `cut-${k}`);
    return { title: variant.title, recipe, job, out: join(rig.out, `cut-${k}`) };
  });
  for (const { title, recipe, job, out } of jobs) {
    expect((await job.ended).code, `${title}: ${job.stderr}`).toBe(0);
    const whole = await merge(recipe, models, []);
    const [cut, uncut] = [out, whole].map((folder) => sha256(readFileSync(join(folder, "model.safetensors"))));
    expect(cut, title).toBe(uncut);
  }
});
