import {
  type Assignment,
  type AttemptKey,
  type Plan,
  partsOfTensors,
  preambleIn,
  type SealRange,
  type Slice,
  type SlicePart,
  type TensorTask,
} from "../merge/work/index.ts";
import type { Assignment as AssignmentMessage, ByteRange as ByteRangeMessage } from "../proto/index.ts";
import type { Place } from "../storage/index.ts";
import { attemptOf, messageOfAttempt } from "./attempt-id.ts";
import { dataOf, messageOfData } from "./data.ts";
import { malformed } from "./errors.ts";
import { numberOf } from "./numbers.ts";

/** What of a plan is looked up for every assignment. */
export interface PlanIndex {
  readonly plan: Plan;
  readonly slices: ReadonlyMap<string, Slice>;
  /** Places of plan.shards on this machine, in their order; empty strings where there are none. */
  readonly shardPaths: readonly Place[];
  /** Parts of the tensors, by task, in range order. */
  readonly parts: ReadonlyMap<number, readonly SlicePart[]>;
}

export function indexPlan(plan: Plan, shardPaths: readonly Place[]): PlanIndex {
  const slices = new Map(plan.slices.map((slice) => [slice.id, slice]));
  return { plan, slices, shardPaths, parts: partsOfTensors(plan) };
}

/** The plan travels once; an assignment names places in it. `shardPaths`: the coordinator's, in which seals are told apart. */
export function messageOfAssignment(
  job: string,
  assignment: Assignment,
  leaseMs: number,
  shardPaths: readonly Place[],
): AssignmentMessage {
  const id = messageOfAttempt({ job, unit: assignment.unit, attempt: assignment.attempt });
  return { id, leaseMs: BigInt(Math.floor(leaseMs)), work: workOf(assignment, shardPaths) };
}

function workOf(assignment: Assignment, shardPaths: readonly Place[]): NonNullable<AssignmentMessage["work"]> {
  switch (assignment.kind) {
    case "slice": {
      const { slice } = assignment;
      const verdicts = slice.parts.flatMap(({ task }, k) => {
        const value = assignment.verdicts[k];
        return value === undefined || slice.parts[k - 1]?.task === task ? [] : [{ task, value: messageOfData(value) }];
      });
      return { $case: "slice", value: { sliceId: slice.id, verdicts, audit: assignment.audit } };
    }
    case "survey": {
      const { taskIndex, parts, request, firstRound } = assignment;
      const value = { task: taskIndex, firstPart: parts[0]?.part ?? 0, partCount: parts.length };
      return { $case: "survey", value: { ...value, request: messageOfData(request), firstRound } };
    }
    case "seal-slices": {
      const { ranges } = assignment;
      const shard = shardOf(assignment.path, shardPaths);
      return { $case: "sealSlices", value: { shard, ranges: messagesOfRanges(ranges) } };
    }
    case "seal-file": {
      const shard = shardOf(assignment.path, shardPaths);
      const { sizeBytes, ranges = [] } = assignment;
      return {
        $case: "sealFile",
        value: { shard, sizeBytes: BigInt(sizeBytes), ranges: messagesOfRanges(ranges) },
      };
    }
  }
}

function messagesOfRanges(ranges: readonly SealRange[]): ByteRangeMessage[] {
  return ranges.map(({ offsetBytes, sizeBytes }) => ({
    offsetBytes: BigInt(offsetBytes),
    sizeBytes: BigInt(sizeBytes),
  }));
}

/** @throws WireError where one ends behind the file */
function rangesFrom(ranges: readonly ByteRangeMessage[], fileBytes: number): SealRange[] {
  return ranges.map((range) => {
    const offset = numberOf(range.offsetBytes, "an offset");
    const size = numberOf(range.sizeBytes, "a size");
    if (offset + size > fileBytes) throw malformed(`a range that ends at byte ${offset + size} of ${fileBytes}`);
    return { offsetBytes: offset, sizeBytes: size };
  });
}

function shardOf(path: Place, shardPaths: readonly Place[]): number {
  const shard = shardPaths.indexOf(path);
  if (shard < 0) throw new Error(`${path} is no shard of the plan`);
  return shard;
}

/** An assignment as it arrived: whose job it is, for how long, and what is to be done. */
export interface ReceivedAssignment {
  readonly job: string;
  readonly leaseMs: number;
  readonly assignment: Assignment;
}

/** Before the plan is at hand: which attempt this is. @throws WireError `wire/malformed` */
export function attemptOfAssignment(message: AssignmentMessage): AttemptKey {
  return attemptOf(message.id);
}

/** Everything that the message names must be in the plan. @throws WireError `wire/malformed` */
export function assignmentOf(message: AssignmentMessage, index: PlanIndex): ReceivedAssignment {
  const { job, unit, attempt } = attemptOf(message.id);
  const work = workFrom(message, index);
  return { job, leaseMs: numberOf(message.leaseMs, "a lease of ms"), assignment: { unit, attempt, ...work } };
}

type Work<A = Assignment> = A extends Assignment ? Omit<A, "unit" | "attempt"> : never;

function workFrom({ work }: AssignmentMessage, index: PlanIndex): Work {
  switch (work?.$case) {
    case "slice":
      return sliceWorkFrom(work.value, index);
    case "survey": {
      const { task, firstPart, partCount, request, firstRound } = work.value;
      const parts = (index.parts.get(task) ?? []).slice(firstPart, firstPart + partCount);
      if (parts.length !== partCount || partCount === 0 || parts[0]?.part !== firstPart) {
        throw malformed(`parts ${firstPart} to ${firstPart + partCount} of task ${task}, which the plan does not have`);
      }
      return {
        kind: "survey",
        taskIndex: task,
        task: taskOf(index, task),
        parts,
        request: dataOf(request),
        firstRound,
      };
    }
    case "sealSlices": {
      const { shard, ranges } = work.value;
      const { path, sizeBytes } = shardAt(index, shard);
      return { kind: "seal-slices", path, ranges: rangesFrom(ranges, sizeBytes) };
    }
    case "sealFile": {
      const { path, sizeBytes } = shardAt(index, work.value.shard);
      if (work.value.sizeBytes !== BigInt(sizeBytes))
        throw malformed(`a size of ${work.value.sizeBytes}, not ${sizeBytes}`);
      const ranges = rangesFrom(work.value.ranges, sizeBytes);
      return { kind: "seal-file", path, sizeBytes, ...(ranges.length === 0 ? {} : { ranges }) };
    }
    case undefined:
      throw malformed("an assignment of a kind that is unknown here");
  }
}

function sliceWorkFrom(
  message: {
    readonly audit: boolean;
    readonly sliceId: string;
    readonly verdicts: readonly { task: number; value: Parameters<typeof dataOf>[0] }[];
  },
  index: PlanIndex,
): Work {
  const slice = index.slices.get(message.sliceId);
  if (slice === undefined) throw malformed(`slice ${message.sliceId}, which the plan does not have`);
  const verdicts = new Map(message.verdicts.map(({ task, value }) => [task, dataOf(value)]));
  return {
    kind: "slice",
    slice,
    tasks: slice.parts.map(({ task }) => taskOf(index, task)),
    verdicts: slice.parts.map(({ task }) => verdicts.get(task)),
    preamble: preambleIn(index.plan, slice),
    audit: message.audit,
  };
}

function taskOf({ plan }: PlanIndex, task: number): TensorTask {
  const found = plan.tasks[task];
  if (found === undefined) throw malformed(`task ${task}, which the plan does not have`);
  return found;
}

function shardAt({ plan, shardPaths }: PlanIndex, shard: number): { readonly path: Place; readonly sizeBytes: number } {
  const [found, path] = [plan.shards[shard], shardPaths[shard]];
  if (found === undefined || path === undefined) throw malformed(`shard ${shard}, which the plan does not have`);
  return { path, sizeBytes: found.sizeBytes };
}
