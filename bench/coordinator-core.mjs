// Cost of the coordinator's core alone, per slice: node bench/coordinator-core.mjs. Needs a build.
// Simulated workers compute nothing: assigned, granted, reported, durable; a heartbeat of each worker and a tick now and then.
import { initialState, reduce } from "../dist/coordinator/core/index.js";
import { remoteLimits } from "../dist/coordinator/job/index.js";

const SLOTS = 4;

function run(slices, workers) {
  const limits = { ...remoteLimits({ slices }), attemptBase: 2 ** 20, earlierGrantsMs: 0 };
  const ids = Array.from({ length: slices }, (_, k) => `s${String(k).padStart(6, "0")}`);
  const state = initialState({
    limits,
    slices: ids.map((id) => ({ id, slice: id, sizeBytes: 2 ** 25, memoryBytes: 2 ** 28, attempt: 0 })),
    tensors: [],
  });
  let nowMs = 0;
  let done = 0;
  let events = 0;
  const assigned = [];
  const post = (event) => {
    events++;
    const after = [];
    for (const effect of reduce(state, { nowMs, ...event })) {
      if (effect.type === "assign") assigned.push(effect);
      else if (effect.type === "journal-done")
        after.push({ type: "slice-durable", unit: effect.unit, sha256: effect.sha256 });
      else if (effect.type === "journal-writer" && effect.isGone !== true)
        after.push({ type: "writer-durable", worker: effect.worker, incarnation: effect.incarnation });
    }
    for (const next of after) post(next);
  };
  const begun = performance.now();
  post({ type: "started" });
  for (let k = 0; k < workers; k++) {
    const worker = `w${k}`;
    post({
      ...{ type: "worker-attached", worker, trust: "other", incarnation: "1", host: worker },
      ...{ memoryBytes: 2 ** 33, slots: SLOTS, held: [] },
    });
  }
  const sha256 = "0".repeat(64);
  while (done < slices) {
    const effect = assigned.shift();
    if (effect === undefined) break;
    const { worker, unit, attempt } = effect;
    nowMs += 0.2;
    post({ type: "grant-requested", worker, unit, attempt, sha256 });
    post({ type: "slice-computed", worker, unit, attempt, sha256 });
    done++;
    if (done % 8 === 0) {
      const name = `w${(done / 8) % workers}`;
      const held = [...(state.workers.get(name)?.units ?? [])].map((id) => ({
        unit: id,
        attempt: state.units.get(id).attempt,
        alive: true,
      }));
      post({ type: "heartbeat", worker: name, held });
    }
    if (done % 1000 === 0) post({ type: "time-passed" });
  }
  if (state.phase !== "sealing") throw new Error(`ended in ${state.phase} with ${state.slicesOpen} open`);
  return { ms: performance.now() - begun, events };
}

run(20_000, 1000); // warm
for (const [slices, workers] of [
  [1000, 10],
  [1000, 1000],
  [10_000, 1000],
  [100_000, 1000],
]) {
  const repeats = Math.max(1, Math.floor(100_000 / slices));
  let ms = 0;
  let events = 0;
  for (let k = 0; k < repeats; k++) {
    const result = run(slices, workers);
    ms += result.ms;
    events += result.events;
  }
  const perSlice = (1000 * ms) / (slices * repeats);
  console.log(
    `${slices} slices, ${workers} workers: ${perSlice.toFixed(2)} us a slice, ${((1000 * ms) / events).toFixed(2)} us an event`,
  );
}
console.log(`memory ${(process.memoryUsage().rss / 2 ** 20).toFixed(0)} MiB`);
