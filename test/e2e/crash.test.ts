/**
 * kill -9 at seeded moments: a merge of 220 slices, killed from outside while it merges, seals and publishes, ends in the
 * same bytes as an undisturbed one, and computes again no slice that the journal has.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { seededRandom } from "../support/seeded-random.ts";
import { type CommandEvent, hashesOf, journalOf, MODELS, sha256, slicesDone, start } from "./cli-process.ts";
import { STACKED_SIZES, stackedRecipe } from "./stacked-recipe.ts";

const THREADS = 2;
/** Slices that a thread holds at once: one is computed while the one before becomes durable. */
const SLOTS = 2;
/** Kills in all, each phase its share. */
const KILLS = 60;
const KILLS_PER_PHASE = 10;
const MERGES_MAX = 30;
const SEED = 6;

const scratch = mkdtempSync(join(tmpdir(), "deltaworks-crash-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** Many small tensors, random masks, three models of two dtypes. */
const RECIPE = stackedRecipe("merge_method: della\nbase_model: gpt2-base\nparameters: {density: 0.5, epsilon: 0.2}");

const recipePath = join(scratch, "recipe.yml");
writeFileSync(recipePath, RECIPE);

/** Where a kill found the job: what stands in the journal and the directory decides, not what was aimed at. */
type Phase = "start" | "merge" | "seal" | "publish" | "done";

interface Aim {
  /** Kill when this is told ... */
  readonly when: (event: CommandEvent) => boolean;
  /** ... or, where nothing is to be waited for, from the start on; and so much later. */
  readonly delayMs: number;
}

/** One run of the same command, killed as aimed; a run without an aim goes to its end. */
async function mergeInto(out: string, aim?: Aim) {
  const told: { readonly event: CommandEvent; readonly atMs: number }[] = [];
  const began = performance.now();
  let timer: NodeJS.Timeout | undefined;
  const args = [
    "merge",
    recipePath,
    out,
    "--models-root",
    MODELS,
    "--threads",
    String(THREADS),
    ...STACKED_SIZES,
    "--json",
  ];
  const running = start(args, {
    onEvent: (event, child) => {
      told.push({ event, atMs: performance.now() - began });
      if (aim === undefined || timer !== undefined || !aim.when(event)) return;
      timer = setTimeout(() => child.kill("SIGKILL"), aim.delayMs);
    },
  });
  const ended = await running.ended;
  clearTimeout(timer);
  const atMs = (phase: string) => told.find(({ event }) => event.phase === phase)?.atMs ?? 0;
  const seal = { fromMs: atMs("sealing"), toMs: atMs("publishing") };
  return {
    ended,
    seal,
    endMs: told.at(-1)?.atMs ?? 0,
    began: told.find(({ event }) => event.event === "began")?.event,
  };
}

function phaseFound(out: string, slices: number): Phase {
  const states = journalOf(out).flatMap(({ subject, body }) => (subject === "job" ? [body.state] : []));
  if (states.includes("done")) return "done";
  const stage = join(out, ".deltaworks", "stage");
  // The documents are put beside the shards once these are sealed.
  if (states.includes("publishing") || existsSync(join(stage, "config.json"))) return "publish";
  const done = slicesDone(out).size;
  return done === slices ? "seal" : done > 0 ? "merge" : "start";
}

interface ManifestSlice {
  readonly id: string;
  readonly file: string;
  readonly offsetBytes: number;
  readonly sizeBytes: number;
  readonly sha256: string;
}

/** Slices whose finished bytes lie in the stage though the journal does not have them: work that the kill has cost. */
function unacknowledged(out: string, slices: readonly ManifestSlice[]): number {
  const done = slicesDone(out);
  const shards = new Map<string, Buffer>();
  return slices.filter(({ id, file, offsetBytes, sizeBytes, sha256: expected }) => {
    if (done.has(id)) return false;
    const shard = shards.get(file) ?? readFileSync(join(out, ".deltaworks", "stage", file));
    shards.set(file, shard);
    return sha256(shard.subarray(offsetBytes, offsetBytes + sizeBytes)) === expected;
  }).length;
}

/** What one merge is killed at, one time after another. */
const targets = ["merge", "merge", "seal", "seal", "publish", "publish"] as const;

test(`a merge killed at ${KILLS} seeded moments and more ends in the same bytes each time`, async () => {
  const whole = join(scratch, "whole");
  const undisturbed = await mergeInto(whole);
  expect(undisturbed.ended.code, undisturbed.ended.stderr).toBe(0);
  const expected = hashesOf(whole);
  const manifest = JSON.parse(readFileSync(join(whole, "deltaworks.manifest.json"), "utf8"));
  const slices = manifest.slices as readonly ManifestSlice[];
  expect(slices.length).toBeGreaterThanOrEqual(200);

  const random = seededRandom(SEED);
  const { seal, endMs } = undisturbed;
  const isPublishing = ({ phase, state }: CommandEvent) => phase === "publishing" || state === "publishing";
  const aims: Readonly<Record<"start" | "merge" | "seal" | "publish", () => Aim>> = {
    start: () => ({ when: ({ event }) => event === "began", delayMs: random() * 20 }),
    merge: () => {
      const count = Math.floor(random() * slices.length * 0.95);
      return { when: ({ slicesDone }) => Number(slicesDone) > count, delayMs: random() * 3 };
    },
    seal: () => ({ when: ({ phase }) => phase === "sealing", delayMs: random() * 0.7 * (seal.toMs - seal.fromMs) }),
    publish: () => ({ when: isPublishing, delayMs: random() * 0.7 * (endMs - seal.toMs) }),
  };

  const kills: Record<Phase, number> = { start: 0, merge: 0, seal: 0, publish: 0, done: 0 };
  const isEnough = () =>
    kills.start + kills.merge + kills.seal + kills.publish >= KILLS &&
    Math.min(kills.merge, kills.seal, kills.publish) >= KILLS_PER_PHASE;
  for (let merge = 0; merge < MERGES_MAX && !isEnough(); merge++) {
    const out = join(scratch, `out-${merge}`);
    let killsWhileMerging = 0;
    let acknowledged = 0;
    for (const target of merge % 5 === 0 ? (["start", ...targets] as const) : targets) {
      const { ended, began } = await mergeInto(out, aims[target]());
      const place = `seed ${SEED}, merge ${merge}, ${target}`;
      if (began !== undefined) expect(began.slicesDone, place).toBe(acknowledged);
      if (ended.signal !== "SIGKILL") {
        expect(ended.code, `${place}: ${ended.stderr}`).toBe(0); // it was too fast for us
        break;
      }
      const phase = phaseFound(out, slices.length);
      kills[phase]++;
      if (phase === "done") break;
      if (phase === "merge") {
        killsWhileMerging++;
        expect(unacknowledged(out, slices), place).toBeLessThanOrEqual(THREADS * SLOTS * killsWhileMerging);
      }
      const now = slicesDone(out).size;
      expect(now, `${place}: the journal forgot slices`).toBeGreaterThanOrEqual(acknowledged);
      acknowledged = now;
    }
    const { ended, began } = await mergeInto(out);
    expect(ended.code, ended.stderr).toBe(0);
    expect(hashesOf(out), `seed ${SEED}, merge ${merge}`).toEqual(expected);
    expect(existsSync(join(out, ".deltaworks", "stage"))).toBe(false);
    if (began?.state !== "complete") {
      expect(began?.slicesDone).toBe(acknowledged);
      const done = ended.events.findLast(({ event }) => event === "done");
      expect(done?.slicesComputed, `merge ${merge}`).toBe(slices.length - acknowledged);
    }
    rmSync(out, { recursive: true });
  }
  const histogram = Object.entries(kills).map(([phase, count]) => `${phase} ${count}`);
  console.log(`kill -9 by phase found: ${histogram.join(", ")}`);
  expect(isEnough(), histogram.join(", ")).toBe(true);
}, 600_000);
