/**
 * Watches a simulated cluster from outside and says what must never be. It knows the plan, the bytes that a single process would write, what
 * was asked of the disk, and what coordinators decided and when; it shares no code with those who decide.
 */
import type { CoreEvent, Effect } from "../../coordinator/core/index.ts";
import type { Slice, UnitId, WorkerId } from "../../merge/work/index.ts";
import type { RecordFacts } from "./journal-server.ts";
import type { MadeUpMerge } from "./made-up-merge.ts";
import type { Process } from "./process.ts";
import type { World } from "./world.ts";

/** Whose write it is. */
export interface Writer {
  readonly worker: WorkerId;
  readonly unit: UnitId;
  readonly attempt: number;
}

/** No seed gets near it unless something goes round in circles. */
const ATTEMPTS_MAX = 80;

export class Auditor {
  readonly violations: string[] = [];
  readonly #world: World;
  readonly #merge: MadeUpMerge;
  readonly #stage: string;
  readonly #out: string;
  readonly #slices: ReadonlyMap<string, Slice>;
  /** Who was lent which attempt, by whichever coordinator. */
  readonly #assigned = new Map<string, WorkerId>();
  readonly #attempts = new Map<string, number>();
  /** The newest grant of each slice, of whichever coordinator. */
  readonly #granted = new Map<UnitId, number>();
  /** By which attempt each slice was done last. */
  readonly #done = new Map<UnitId, number>();
  /** What records that counted have said to be done, of a journal that coordinators share. */
  readonly #recorded = new Set<string>();
  /** What each attempt wrote. */
  readonly #written = new Map<string, Uint8Array>();
  /** What was asked to become durable, by coordinator. */
  readonly #asked = new Map<string, { readonly attempt: number }>();
  /** Per coordinator: parts of the newest seal that were not answered yet. */
  readonly #unsealed = new Map<string, Set<UnitId>>();
  /** Per shard: bytes that were read since they were written last. */
  readonly #readBack = new Map<string, Uint8Array>();
  readonly #discarded = new Set<string>();
  /** Files in their places that nobody knows of since the journal went back. */
  readonly #forgotten = new Set<string>();
  #wentBackMs = Number.NEGATIVE_INFINITY;
  readonly #isShared: boolean;

  /** `isShared`: coordinators share a journal, which says itself what comes to stand in it: `recorded`. */
  constructor(world: World, merge: MadeUpMerge, out: string, isShared: boolean) {
    this.#world = world;
    this.#isShared = isShared;
    this.#merge = merge;
    this.#out = out;
    this.#stage = `${out}/.deltaworks/stage`;
    this.#slices = new Map(merge.plan.slices.map((slice) => [slice.id as string, slice]));
    for (const shard of merge.plan.shards) {
      this.#readBack.set(`${this.#stage}/${shard.name}`, new Uint8Array(shard.sizeBytes));
    }
  }

  violated(what: string): void {
    this.violations.push(what);
    this.#world.log("VIOLATION", what);
  }

  // ---- what coordinators decide

  decided(coordinator: string, event: CoreEvent, effects: readonly Effect[]): void {
    if (event.type === "slice-durable") this.#heardDone(coordinator, event.unit);
    if (event.type === "seal-begun") this.#unsealed.set(coordinator, new Set(event.units.map(({ unit }) => unit)));
    if (event.type === "sealed" && effects.some(({ type }) => type === "accept")) {
      this.#unsealed.get(coordinator)?.delete(event.unit);
    }
    for (const effect of effects) {
      switch (effect.type) {
        case "assign":
          this.#assign(effect.unit, effect.attempt, effect.worker);
          break;
        case "grant":
          this.#granted.set(effect.unit, effect.attempt);
          break;
        case "publish": {
          const open = this.#unsealed.get(coordinator);
          if (open === undefined || open.size > 0)
            this.violated(`published with ${[...(open ?? [])].join(", ")} unsealed`);
          break;
        }
        case "journal-done": {
          const { unit, attempt } = effect;
          this.#asked.set(`${coordinator}/${unit}`, { attempt });
          break;
        }
        case "journal-disputed":
          for (const { attempt, worker } of effect.votes) {
            const holder = this.#assigned.get(`${effect.unit}/${attempt}`);
            if (holder !== worker)
              this.violated(`${worker} disputes ${effect.unit} by attempt ${attempt} of ${holder}`);
          }
      }
    }
  }

  #assign(unit: UnitId, attempt: number, worker: WorkerId): void {
    const key = `${unit}/${attempt}`;
    if (this.#assigned.has(key)) this.violated(`attempt ${attempt} of ${unit} was given out twice`);
    this.#assigned.set(key, worker);
    const count = (this.#attempts.get(unit) ?? 0) + 1;
    this.#attempts.set(unit, count);
    if (count === ATTEMPTS_MAX) this.violated(`${unit} was tried ${count} times`);
  }

  /**
   * A coordinator that stood still hears long after its record was made, when the next one may have had the slice disputed, computed anew and
   * published: with a shared journal a slice is done when the record that counts is made. A file has one leader, whom nobody succeeds
   * while it stands still.
   */
  #heardDone(coordinator: string, unit: UnitId): void {
    const asked = this.#asked.get(`${coordinator}/${unit}`);
    if (asked === undefined) return;
    const { attempt } = asked;
    if (!this.#isShared) this.#becameDone(unit, attempt);
    else if (!this.#recorded.has(`${unit}/${attempt}`))
      this.violated(`${coordinator} takes ${unit} for done by attempt ${attempt}, and no record that counts says so`);
  }

  /** A record of the shared journal, in the moment in which it comes to stand there: one that counts. */
  recorded(subject: string, { state, attempt }: RecordFacts): void {
    if (!subject.startsWith("slice/") || state !== "done" || attempt === undefined) return;
    const unit = subject.slice("slice/".length) as UnitId;
    this.#recorded.add(`${unit}/${attempt}`);
    this.#becameDone(unit, attempt);
  }

  /** Done is done: the bytes survive whatever comes. */
  #becameDone(unit: UnitId, attempt: number): void {
    const slice = this.#slices.get(unit);
    if (slice === undefined) return this.violated(`${unit}, which is no slice, is done`);
    this.#done.set(unit, attempt);
    const granted = this.#granted.get(unit);
    if (granted !== attempt) this.violated(`${unit} is done by attempt ${attempt}, the grant is ${granted}'s`);
    const path = `${this.#stage}/${this.#merge.plan.shards[slice.shard]?.name}`;
    const bytes = this.#world.look().durableRange(path, slice.offsetBytes, slice.sizeBytes);
    // What the attempt wrote, which may not be what it says: that is for others to find out.
    const written = this.#written.get(`${unit}/${attempt}`);
    if (bytes === undefined || written === undefined || Buffer.compare(bytes, written) !== 0)
      this.violated(`${unit} is done by attempt ${attempt}, and its bytes are not durable`);
  }

  // ---- what is asked of the disk

  writing(path: string, offsetBytes: number, bytes: Uint8Array, writer: Writer | undefined): void {
    const coverage = this.#readBack.get(path);
    // A process that was stopped in the middle of a call ends it when it wakes up; what it writes must be what is there.
    const there = this.#world
      .look()
      .contentOf(path)
      ?.subarray(offsetBytes, offsetBytes + bytes.length);
    if (there === undefined || Buffer.compare(there, bytes) !== 0)
      coverage?.fill(0, offsetBytes, offsetBytes + bytes.length);
    if (writer !== undefined) this.#noteWritten(writer, offsetBytes, bytes);
  }

  /** Asked where a write cannot be held back any more. */
  mayWrite(path: string, writer: Writer): void {
    const who = `attempt ${writer.attempt} of ${writer.unit} (${writer.worker})`;
    if (this.#discarded.has(path)) this.violated(`${who} wrote after the stage was discarded`);
    const granted = this.#granted.get(writer.unit);
    if (granted !== writer.attempt) this.violated(`${who} wrote while the grant was ${granted}'s`);
    const done = this.#done.get(writer.unit);
    if (done !== undefined && done >= writer.attempt) this.violated(`${who} wrote after the slice was done`);
  }

  #noteWritten({ unit, attempt }: Writer, offsetBytes: number, bytes: Uint8Array): void {
    const slice = this.#slices.get(unit);
    if (slice === undefined) return this.violated(`${unit}, which is no slice, was written`);
    const key = `${unit}/${attempt}`;
    const written = this.#written.get(key) ?? new Uint8Array(slice.sizeBytes);
    const at = offsetBytes - slice.offsetBytes;
    if (at < 0 || at + bytes.length > slice.sizeBytes) return this.violated(`${unit} was written beyond its place`);
    written.set(bytes, at);
    this.#written.set(key, written);
  }

  readBack(path: string, offsetBytes: number, sizeBytes: number): void {
    this.#readBack.get(path)?.fill(1, offsetBytes, offsetBytes + sizeBytes);
  }

  renaming(from: string, to: string, { alive, diedMs }: Process): void {
    const coverage = this.#readBack.get(from);
    if (coverage?.includes(0) === true) this.violated(`${from} was published, and not all of it had been read back`);
    // Killed in the middle of the call: the file came into its place after the journal had gone back, and is as unknown as those before it.
    if (!alive && diedMs <= this.#wentBackMs) this.#forgotten.add(to);
  }

  removing(path: string): void {
    if (this.#readBack.has(path) && this.#world.wantsEnd) this.#discarded.add(path);
  }

  /**
   * Attempts of later epochs may have lower numbers then. That the job was being published may be forgotten too: what has been moved into
   * place nobody knows to be its own, should it be cancelled.
   */
  journalWentBack(): void {
    this.#done.clear();
    this.#wentBackMs = this.#world.scheduler.nowMs;
    for (const path of this.#publishedIn(this.#world.look().paths(this.#out))) this.#forgotten.add(path);
  }

  #publishedIn(paths: readonly string[]): readonly string[] {
    return paths.filter((path) => !path.startsWith(`${this.#out}/.deltaworks/`));
  }

  /** Removed on behalf of a job that goes on: nothing was discarded. */
  restored(): void {
    this.#discarded.clear();
  }

  // ---- the end

  /** Whatever was to happen has happened. */
  conclude(outcome: "done" | "cancelled"): void {
    const store = this.#world.look();
    const paths = store.paths(this.#out);
    const published = this.#publishedIn(paths);
    const staged = paths.filter((path) => path.startsWith(`${this.#stage}/`));
    if (staged.length > 0) this.violated(`left in the stage after ${outcome}: ${staged.join(", ")}`);
    const strange = paths.filter(
      (path) => path.startsWith(`${this.#out}/.deltaworks/`) && !/\/(journal|lock)$/.test(path),
    );
    if (strange.length > staged.length) this.violated(`stray files: ${strange.join(", ")}`);
    if (outcome === "cancelled") {
      const known = published.filter((path) => !this.#forgotten.has(path));
      if (known.length > 0) this.violated(`published though cancelled: ${known.join(", ")}`);
      return;
    }
    const expected = [...this.#merge.shards.keys(), "README.md", "mergekit_config.yml"];
    if (this.#merge.shards.size > 1) expected.push("model.safetensors.index.json");
    expected.push("deltaworks.manifest.json", "SHA256SUMS");
    const names = published.map((path) => path.slice(this.#out.length + 1)).sort();
    if (names.join() !== expected.sort().join()) this.violated(`published ${names.join(", ")}`);
    for (const [name, bytes] of this.#merge.shards) {
      const found = store.contentOf(`${this.#out}/${name}`);
      if (found === undefined || Buffer.compare(found, bytes) !== 0) {
        this.violated(`${name} is not what a single process writes`);
      }
    }
  }

  /** The records of the job's journal that count, in order: a slice that is done is done once. */
  checkJournal(records: readonly { readonly subject: string; readonly state: string }[]): void {
    const done = new Set<string>();
    for (const { subject, state } of records) {
      if (subject === "job" && state === "begun") done.clear();
      if (!subject.startsWith("slice/")) continue;
      if (state !== "done") done.delete(subject);
      else if (done.has(subject)) this.violated(`${subject} is done twice in the journal`);
      else done.add(subject);
    }
  }
}
