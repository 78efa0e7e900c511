/** A recount finds each counter that is wrong, and each unit that stands nowhere. What is healthy, every other test of the core asks. */
import { expect, test } from "vitest";
import { brokenInvariants, type JobState } from "../../../coordinator/core/index.ts";
import { A, B, C, Core, slice, W1, W2 } from "./harness.ts";

/** Two slices lent, one of them granted; one ready. */
function busy(): Core {
  const core = new Core({ slices: [slice(A), slice(B), slice(C)] });
  core.start();
  core.attach(W1, 1, { trust: "other" });
  core.attach(W2, 1, { trust: "other" });
  core.grant(A, 1, W1, "x");
  return core;
}

const damages: readonly (readonly [string, (state: JobState) => void])[] = [
  ["attempts held", (state) => state.held++],
  ["on their way into the journal", (state) => state.journalling++],
  ["slices open", (state) => state.slicesOpen--],
  ["tensors open", (state) => state.tensorsOpen++],
  ["seals open", (state) => state.sealsOpen++],
  ["workers that are able", (state) => state.able--],
  ["stands in no queue", (state) => state.readySlices.items.splice(2)],
  ["nobody looks when the lease", (state) => state.deadlines.splice(0)],
  ["may be a straggler", (state) => state.single.add("gone" as never)],
  ["single: false", (state) => state.single.delete(A)],
  ["free for work", (state) => state.free.push(new Set(["gone" as never]))],
  ["stands among those", (state) => state.free[1]?.add(W1) ?? state.free.push(new Set([W1]))],
  ["does not know that it holds", (state) => state.workers.get(W1)!.units.delete(A)],
  ["which does not know of it", (state) => state.workers.get(W1)!.units.add(C)],
  ["is done, without a hash", (state) => Object.assign(state.units.get(C)!, { status: "done" })],
  ["is leased, and nobody has it", (state) => Object.assign(state.units.get(C)!, { status: "leased" })],
  ["is pending, and w2 has it", (state) => Object.assign(state.units.get(B)!, { status: "pending" })],
  ["is granted to nobody", (state) => Object.assign(state.units.get(B)!, { status: "granted" })],
  ["a survey, was granted", (state) => Object.assign(state.units.get(A)!, { kind: "survey" })],
  ["blocked by nothing", (state) => Object.assign(state.units.get(C)!, { status: "blocked" })],
  [
    "by one worker",
    (state) => {
      const unit = state.units.get(A)!;
      unit.attempts = [...unit.attempts, { ...unit.attempts[0]!, number: 9 }];
    },
  ],
  ["and its newest is", (state) => Object.assign(state.units.get(A)!, { attempt: 0 })],
  ["is set aside, and holds", (state) => Object.assign(state.workers.get(W1)!, { setAside: { code: "" } })],
  ["set aside for ever by mistake", (state) => Object.assign(state.workers.get(W1)!, { pardonMs: 1 })],
  ["may write", (state) => state.grants.set(A, { attempt: 7, worker: W2, endsMs: 1e9 })],
];

test.each(damages)("finds: %s", (what, damage) => {
  const { state } = busy();
  expect(brokenInvariants(state)).toEqual([]);
  damage(state);
  expect(brokenInvariants(state).join("\n")).toContain(what);
});
