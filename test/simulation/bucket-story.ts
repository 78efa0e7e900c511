import { createHash } from "node:crypto";
import { lockedHome, ownerOfMachine, runMergeJob } from "../../coordinator/job/index.ts";
import { type Failure, failureFrom } from "../../merge/work/index.ts";
import { BucketPublication, FinishedOutput, findLeftovers, ObjectOutput, removeLeftover } from "../../output/index.ts";
import { type Objects, placeOf, UploadSlots } from "../../storage/index.ts";
import { seededRandom } from "../support/seeded-random.ts";
import { SimulatedStore } from "../support/simulated-store.ts";
import { Auditor } from "./auditor.ts";
import { BucketAuditor, wholeOutputsOf } from "./bucket-auditor.ts";
import { type BucketBug, bucketBugsIn } from "./bucket-bugs.ts";
import { chooseBucketFaults, type Scenario, scenarios } from "./bucket-faults.ts";
import { type BucketMerge, bucketMerge, jobOf, MERGES, sealed, sliceBytesOf } from "./bucket-merge.ts";
import { inlineThreads } from "./bucket-threads.ts";
import { BucketWorld, newProcess } from "./bucket-world.ts";
import type { Process } from "./process.ts";
import { ProcessStore } from "./process-store.ts";
import { times } from "./world.ts";

export interface BucketFinding {
  readonly seed: number;
  readonly scenario: Scenario;
  /** What must not be, in the order in which it was seen; empty: all is well. */
  readonly violations: readonly string[];
  /** How each command ended, in the order of their ends. */
  readonly ends: readonly string[];
  readonly turns: number;
  readonly endedMs: number;
  readonly happened: ReadonlyMap<string, number>;
  readonly trace: readonly string[];
}

interface Command {
  readonly kind: "merge" | "publish";
  readonly merge: BucketMerge;
  readonly overwrite?: boolean;
  readonly restart?: boolean;
}

interface End {
  readonly outcome: "done" | "stopped" | "cancelled" | "failed" | "killed";
  readonly cause?: Failure;
}

const OUT = placeOf("s3://bucket/models/out");
const BUCKET = placeOf("s3://bucket");
/** After so many runs of a command something goes round in circles. */
const RUNS_MAX = 60;

/** What may end a command for good where two want the same prefix. */
const refusals = ["publish/not-empty", "publish/foreign-file", "coordinator/other-job", "storage/locked"];

/** A machine: what it keeps on its disk lives longer than its processes. */
class Machine {
  readonly name: string;
  readonly #story: BucketStory;
  #runs = 0;
  process: Process | undefined;
  isGone = false;
  takeOver: string | undefined;
  /** Asked of the next job that runs, or of the one that does. */
  wantsCancel = false;
  cancel: (() => void) | undefined;

  constructor(story: BucketStory, name: string) {
    this.#story = story;
    this.name = name;
  }

  /** One process, from its beginning to its end. */
  run(command: Command): Promise<End> {
    const { world } = this.#story;
    const process = newProcess(world, `${this.name}.${++this.#runs}`);
    this.process = process;
    world.log(process.name, `${command.kind} ${command.merge.name}`);
    return new Promise((resolve) => {
      process.onEnd = () => resolve({ outcome: "killed" });
      const act = command.kind === "merge" ? this.#merge(process, command) : this.#publish(process, command);
      act.then(
        (end) => this.#ended(process, end, resolve),
        (error: unknown) => this.#ended(process, { outcome: "failed", cause: failureFrom(error) }, resolve),
      );
    });
  }

  #ended(process: Process, end: End, resolve: (end: End) => void): void {
    if (!process.alive) return;
    const { cause } = end;
    this.#story.world.log(
      process.name,
      `ends: ${end.outcome} ${cause === undefined ? "" : `${cause.code} ${cause.message}`}`,
    );
    process.onEnd = () => {};
    process.kill();
    resolve(end);
  }

  kill(): void {
    this.process?.kill();
  }

  async #merge(process: Process, { merge, overwrite = false, restart = false }: Command): Promise<End> {
    const { world } = this.#story;
    const store = new ProcessStore(world, process);
    const objects = world.objectsFor(process);
    const home = placeOf(`/state/${this.name}`);
    const output = new ObjectOutput(objects, OUT, { takeOver: this.takeOver });
    const slots = new UploadSlots(objects);
    world.sealing.add(process);
    return runMergeJob({
      ...jobOf(merge.plan, output),
      store,
      home: lockedHome(store, home),
      owner: await ownerOfMachine(store, home),
      overwrite,
      restart,
      workers: () =>
        inlineThreads({
          soon: (act) => void process.after(world.between(0.5, 4), act),
          compute: async (work) => {
            const bytes = sliceBytesOf(merge, merge.plan, work);
            const sha256 = createHash("sha256").update(bytes).digest("hex");
            const slot = output.slots(merge.plan)[work.slice.shard] ?? OUT;
            if (world.hits("lying-writer", 0.2)) await this.#lie(objects, slot, work.slice.offsetBytes, bytes, sha256);
            await slots.put(slot, work.slice.offsetBytes, bytes, sha256);
            return sha256;
          },
          seal: async (work) =>
            world.bug === "unsealed" ? this.#unread(merge, work.path, work) : sealed(objects, work),
        }),
      clock: { nowMs: () => process.nowMs() },
      observer: { began: () => {}, progress: () => {}, warning: () => {}, counted: () => {} },
      onStop: (stop) => {
        if (world.hits("sigterm", 0.3)) process.after(world.between(1, 200), stop);
      },
      onRunning: (job) => {
        this.cancel = () => job.cancel();
        if (this.wantsCancel) process.after(0, () => job.cancel());
      },
    });
  }

  /** Says of a slice what it would be, and does not look. */
  #unread(
    merge: BucketMerge,
    path: string,
    work: { readonly ranges?: readonly { readonly offsetBytes: number; readonly sizeBytes: number }[] },
  ): readonly string[] {
    const bytes = merge.shards.get(path.slice(path.lastIndexOf("/") + 1)) ?? new Uint8Array();
    const hashOf = (part: Uint8Array) => createHash("sha256").update(part).digest("hex");
    const ranges = work.ranges ?? [];
    return [
      hashOf(bytes),
      ...ranges.map((range) => hashOf(bytes.subarray(range.offsetBytes, range.offsetBytes + range.sizeBytes))),
    ];
  }

  /** Other bytes under the hash that was granted: the store refuses them, whoever sends them. */
  async #lie(objects: Objects, slot: typeof OUT, offsetBytes: number, bytes: Uint8Array, sha256: string) {
    const lie = bytes.map((byte) => 255 - byte);
    const { world, auditor } = this.#story;
    try {
      await new UploadSlots(objects).put(slot, offsetBytes, lie, sha256);
      auditor.violated(`${this.name} put other bytes than those of its hash into ${slot}`);
    } catch (error) {
      world.log(this.name, `its lie is refused: ${(error as Error).message}`);
    }
  }

  async #publish(process: Process, { merge, overwrite = false }: Command): Promise<End> {
    const { world } = this.#story;
    // A folder of this machine, with nothing in its way.
    const folder = new SimulatedStore();
    const files = [];
    for (const [name, bytes] of merge.filesOfFolder) {
      const file = await folder.openForWriting(`/finished/${name}`).catch(async () => {
        await folder.makeDirectory("/finished");
        return folder.openForWriting(`/finished/${name}`);
      });
      await file.write(0, bytes);
      await file.close();
      files.push({ name, sizeBytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") });
    }
    const finished = await FinishedOutput.open(folder, placeOf("/finished"), files);
    const publication = await BucketPublication.begin(world.objectsFor(process), {
      ...{ output: finished, to: OUT, overwrite, takeOver: this.takeOver, partBytes: 640 },
    });
    await publication.send();
    return { outcome: "done" };
  }
}

/** What becomes of a prefix of a bucket. All of it follows from the seed. */
class BucketStory {
  readonly scenario: Scenario;
  readonly world: BucketWorld;
  readonly auditor: BucketAuditor;
  readonly ends: string[] = [];
  readonly #random: () => number;
  readonly #merges: readonly [BucketMerge, BucketMerge];
  #isOver = false;

  constructor(
    random: () => number,
    world: BucketWorld,
    scenario: Scenario,
    merges: readonly [BucketMerge, BucketMerge],
  ) {
    this.#random = random;
    this.world = world;
    this.scenario = scenario;
    this.#merges = merges;
    const [{ plan, digest, shards }] = merges;
    world.auditor = new Auditor(world, { plan, digest, shards }, placeOf("/none"), false);
    this.auditor = new BucketAuditor(world, "/bucket/models/out/", wholeOutputsOf(merges));
  }

  async run(): Promise<void> {
    const { scheduler } = this.world;
    this.#endUploads();
    const told = this.#tell().then(
      () => {
        this.#isOver = true;
      },
      (error: unknown) => this.auditor.violated(`a defect: ${(error as Error).stack}`),
    );
    await scheduler.run(times.boundMs, () => this.#isOver || this.auditor.violations.length > 0);
    if (!this.#isOver && this.auditor.violations.length === 0)
      this.auditor.violated(`it has not ended at ${times.boundMs} ms, and faults ended at ${times.faultsEndMs}`);
    if (this.#isOver) await told;
  }

  async #tell(): Promise<void> {
    const { auditor } = this;
    const [a, b] = this.#merges;
    const m1 = new Machine(this, "m1");
    const m2 = new Machine(this, "m2");
    const kind = () => (this.#random() < 0.5 ? "merge" : "publish");
    switch (this.scenario) {
      case "alone":
        this.#strangers(a);
        await this.#mustBeDone(m1, { kind: "merge", merge: a });
        break;
      case "published":
        this.#strangers(a);
        await this.#mustBeDone(m1, { kind: "publish", merge: a });
        break;
      case "rivals": {
        const other = { kind: kind(), merge: this.#random() < 0.5 ? a : b } as const;
        const second = this.#later(0, 400).then(() => this.#persist(m2, other));
        const ends = [await this.#persist(m1, { kind: "merge", merge: a }), await second];
        if (!ends.some(({ outcome }) => outcome === "done"))
          auditor.violated(`neither of two was done: ${ends.map(({ cause }) => cause?.message).join("; ")}`);
        break;
      }
      case "replaced": {
        await this.#mustBeDone(m1, { kind: kind(), merge: a });
        const machine = this.#random() < 0.5 ? m1 : m2;
        await this.#mustBeDone(machine, { kind: kind(), merge: b, overwrite: true });
        break;
      }
      case "gone": {
        await this.#abandoned(m1, { kind: kind(), merge: a });
        await this.#later(60, 200);
        const merge = this.#random() < 0.5 ? a : b;
        const end = await this.#persist(m2, { kind: kind(), merge, overwrite: true, restart: true });
        // What was published without records nobody knows to be ours.
        if (end.outcome !== "done" && end.cause?.code !== "publish/foreign-file")
          auditor.violated(`the next one was not done: ${end.cause?.code} ${end.cause?.message}`);
        break;
      }
      case "cancelled": {
        const first = this.#persist(m1, { kind: "merge", merge: a });
        await this.#later(0, 400);
        m1.wantsCancel = true;
        m1.cancel?.();
        await first;
        break;
      }
      case "cleaned": {
        await this.#abandoned(m1, { kind: kind(), merge: a });
      }
    }
    await this.#conclude();
  }

  /** Begun by a machine that is gone before it has ended, or soon after. */
  async #abandoned(machine: Machine, command: Command): Promise<void> {
    const first = this.#persist(machine, command);
    await this.#later(0, 500);
    machine.isGone = true;
    machine.kill();
    await first;
  }

  /** Nothing more goes wrong; what is left is found by `clean`, and by that everything goes that was not published. */
  async #conclude(): Promise<void> {
    const { world, auditor, scenario } = this;
    await this.#later(60, 61);
    await this.#until(times.faultsEndMs);
    const last = this.ends.at(-1) ?? "";
    // Whoever finds it done leaves what another machine has left of it.
    const isClean = /: (?:done|cancelled)$/.test(last) && !["rivals", "gone", "cleaned"].includes(scenario);
    if (isClean && auditor.left().length > 0) auditor.violated(`left after ${last}: ${auditor.left().join(", ")}`);
    if (/: done$/.test(last) && auditor.whole() === undefined) auditor.violated(`done, and no whole output is there`);
    if (/: cancelled$/.test(last) && auditor.published().size > 0)
      auditor.violated(`published though cancelled: ${[...auditor.published().keys()].join(", ")}`);
    const process = newProcess(world, "clean");
    const objects = world.objectsFor(process);
    const before = [...auditor.published().keys()].join();
    const uploads = world.service.uploads.map(({ path }) => path);
    const found = await findLeftovers(objects, BUCKET);
    if (uploads.length > 0 && found.length === 0)
      auditor.violated(`clean does not find the uploads of ${uploads.join(", ")}`);
    for (const { out, holder } of [...found, ...(await findLeftovers(objects, OUT))])
      if (!(await removeLeftover(objects, out, holder))) auditor.violated(`clean cannot remove what is left of ${out}`);
    if (auditor.left().length > 0) auditor.violated(`clean leaves ${auditor.left().join(", ")}`);
    if ([...auditor.published().keys()].join() !== before) auditor.violated("clean changes what was published");
  }

  /** The same command again and again, as its hints say. */
  async #persist(machine: Machine, command: Command): Promise<End> {
    const { auditor } = this;
    for (let runs = 1; ; runs++) {
      const end = await machine.run(command);
      const { outcome, cause } = end;
      if (machine.isGone) return this.#note(machine, { outcome: "killed" });
      if (outcome === "done") auditor.done(machine.name, this.#nameOf(command));
      if (outcome === "done" || outcome === "cancelled") return this.#note(machine, end);
      if (cause !== undefined && !/^[a-z]+\/[a-z-]+$/.test(cause.code))
        auditor.violated(`a failure without a code: ${cause.message}`);
      if (cause?.code === "merge/internal") auditor.violated(`a defect: ${cause.message}`);
      const isLast = runs >= RUNS_MAX || (cause !== undefined && this.#isFinal(machine, cause, runs));
      if (isLast) return this.#note(machine, end);
      await this.#later(5, 120);
    }
  }

  #isFinal(machine: Machine, { code, hint }: Failure, runs: number): boolean {
    const { scenario, world } = this;
    if (code === "storage/locked" && scenario === "gone") {
      // Somebody is certain that m1 has ended.
      machine.takeOver = /--take-over (\S+)/.exec(hint)?.[1];
      return machine.takeOver === undefined;
    }
    const isOfStranger = code === "publish/foreign-file" || code === "publish/not-empty";
    if (isOfStranger && world.happened.has("stranger") && world.scheduler.nowMs < times.faultsEndMs + 1000)
      return false;
    if (code === "storage/locked" && runs < 30) return false;
    if (refusals.includes(code)) return true;
    // Damaged three times, or damaged and lost: the next run computes it again.
    if (code === "coordinator/storage-damages" && world.happened.has("rot")) return false;
    return !code.startsWith("storage/") && !code.startsWith("journal/");
  }

  async #mustBeDone(machine: Machine, command: Command): Promise<void> {
    const { outcome, cause } = await this.#persist(machine, command);
    if (outcome !== "done") this.auditor.violated(`not done: ${cause?.code} ${cause?.message}`);
  }

  #note(machine: Machine, end: End): End {
    this.ends.push(`${machine.name}: ${end.cause === undefined ? end.outcome : end.cause.code}`);
    return end;
  }

  #nameOf({ kind, merge }: Command): string {
    return kind === "merge" ? `${merge.name}, in parts` : `${merge.name}, of a folder`;
  }

  /** Somebody puts a file of theirs where one of ours is to come, and takes it away again. */
  #strangers({ files }: BucketMerge): void {
    const { world } = this;
    if (!world.isOn("stranger")) return;
    const names = [...files.keys()];
    const path = `/bucket/models/out/${names[Math.floor(this.#random() * names.length)]}`;
    let isThere = false;
    const come = () => {
      if (isThere || !world.faulty || world.service.objects.has(path)) return;
      isThere = true;
      world.noteFault("stranger");
      world.byOthers("PUT", path, Buffer.from("a stranger's"));
      world.scheduler.after(times.faultsEndMs - world.scheduler.nowMs, () => world.byOthers("DELETE", path));
    };
    // At any time, or just when somebody has seen that nothing is there.
    if (this.#random() < 0.4) world.scheduler.after(world.between(0, 500), come);
    else
      world.onMissed = (missed) => {
        if (missed === path) world.scheduler.after(0, come);
      };
  }

  /** A rule of the bucket ends uploads that are not complete. */
  #endUploads(): void {
    const { world } = this;
    if (!world.isOn("uploads-ended")) return;
    for (let k = 0; k < 3; k++)
      world.scheduler.after(world.between(50, 700), () => {
        const { uploads } = world.service;
        const upload = uploads[Math.floor(this.#random() * uploads.length)];
        if (upload === undefined) return;
        world.noteFault("uploads-ended");
        world.byOthers("DELETE", `${upload.path}?uploadId=${upload.id}`);
      });
  }

  #later(fromMs: number, toMs: number): Promise<void> {
    return new Promise((resolve) => this.world.scheduler.after(this.world.between(fromMs, toMs), resolve));
  }

  #until(atMs: number): Promise<void> {
    const { scheduler } = this.world;
    return new Promise((resolve) => scheduler.after(atMs - scheduler.nowMs, resolve));
  }
}

/** Runs one seed, with a planted fault perhaps. */
export async function simulateBucket(
  seed: number,
  {
    bug,
    trace = false,
    provokes = bug,
  }: { bug?: BucketBug | undefined; trace?: boolean; provokes?: BucketBug | undefined } = {},
): Promise<BucketFinding> {
  const random = seededRandom(seed);
  for (let k = 0; k < 5; k++) random(); // neighbouring seeds begin alike
  const { scenario: wanted, faults = [] } = provokes === undefined ? {} : (bucketBugsIn[provokes] ?? {});
  const chosen = scenarios[Math.floor(random() * scenarios.length)] ?? "alone";
  const first = Math.floor(random() * MERGES);
  const isAlike = random() < 0.5;
  const second = (first + (isAlike ? MERGES / 2 : 1 + Math.floor(random() * (MERGES - 1)))) % MERGES;
  const merges = [await bucketMerge(first), await bucketMerge(second)] as const;
  const kinds = chooseBucketFaults(random, faults);
  const lines: string[] = [];
  const world = new BucketWorld(random, kinds, bug, trace ? lines : undefined);
  const story = new BucketStory(random, world, wanted ?? chosen, merges);
  world.log("seed", `${seed}: ${story.scenario}; ${[...kinds].join(" ")}`);
  await story.run();
  const { violations } = story.auditor;
  return {
    ...{ seed, scenario: story.scenario, violations: [...violations, ...world.auditor.violations], ends: story.ends },
    ...{ turns: world.scheduler.turns, endedMs: world.scheduler.nowMs, happened: world.happened, trace: lines },
  };
}
