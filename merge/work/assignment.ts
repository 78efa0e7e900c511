import type { Place, Version } from "../../storage/index.ts";
import type { PlainData } from "./plain-data.ts";
import type { Slice, SlicePart } from "./plan.ts";
import type { Seed } from "./round.ts";
import type { TensorTask } from "./tensor-task.ts";

/** Name of something a worker can be given to do: a slice, a survey of a range, a part of the seal. */
export type UnitId = string & { readonly __brand: "UnitId" };
export type WorkerId = string & { readonly __brand: "WorkerId" };

/**
 * One lease of a unit within its job. Attempts of a unit rise with each lease: fencing epoch * 2^20 + number within the epoch. Several
 * may live at once (a straggler's and the one meant to overtake it, an audit's).
 */
export interface AttemptRef {
  readonly unit: UnitId;
  readonly attempt: number;
}

/** What a worker must know of a job before its first assignment. Plain data. */
export interface JobDescription {
  readonly seed: Seed;
  readonly allowNonfinite: boolean;
  /** As plan.inputs. */
  readonly inputs: readonly { readonly label: string; readonly files: readonly InputFile[] }[];
  /** Where each shard is written until it is published. */
  readonly shardPaths: readonly Place[];
}

/** A place as coordinators and workers name it: below a root that each of them has somewhere. `path`: relative, "/" between its parts. */
export interface RootedPath {
  readonly root: string;
  readonly path: string;
}

/** An input file and the state it must be in: when opened, and after it was read. */
export interface InputFile {
  readonly path: Place;
  readonly sizeBytes: number;
  /** What its store knows this state of it by. */
  readonly version: Version;
}

/** A file beside an input's weights (config, tokenizer, what is carried along), and the state in which the plan was made with it. */
export interface InputDocument extends InputFile {
  /** Relative to the input's folder, "/" as separator. */
  readonly name: string;
}

/** Same unit, same attempt: the same assignment. */
export type Assignment = AttemptRef & (SliceWork | SurveyWork | SealWork);

/** Compute a slice and write it to its place, after a grant. */
export interface SliceWork {
  readonly kind: "slice";
  readonly slice: Slice;
  /** The tasks of the slice's parts, in their order. */
  readonly tasks: readonly TensorTask[];
  /** Per part: the verdict, for a tensor that is cut; undefined for one that the worker surveys itself. */
  readonly verdicts: readonly (PlainData | undefined)[];
  /** What of the shard's header is in the slice, before its parts. */
  readonly preamble?: Uint8Array | undefined;
  /** Compute and report the hash, ask for no grant, write nothing: another worker's result is being checked. */
  readonly audit: boolean;
}

/** Answer one request for a range of a tensor that is cut. */
export interface SurveyWork {
  readonly kind: "survey";
  /** Index into plan.tasks. */
  readonly taskIndex: number;
  readonly task: TensorTask;
  /** Neighbouring parts of the tensor that make up the range. */
  readonly parts: readonly SlicePart[];
  readonly request: PlainData;
  /** Whether this is the first round, in which values are checked. */
  readonly firstRound: boolean;
}

/**
 * Read back what was written, through a fresh handle. `ranges` of a file: which of it are asked for beside all of it, in the one reading; they
 * follow each other.
 */
export type SealWork =
  | { readonly kind: "seal-slices"; readonly path: Place; readonly ranges: readonly SealRange[] }
  | {
      readonly kind: "seal-file";
      readonly path: Place;
      readonly sizeBytes: number;
      readonly ranges?: readonly SealRange[];
    };

export interface SealRange {
  readonly offsetBytes: number;
  readonly sizeBytes: number;
}

/** What a worker says of an assignment. Safe to repeat. */
export type Report = AttemptRef &
  (
    | {
        readonly kind: "slice";
        readonly sha256: string;
        readonly warnings: readonly string[];
        readonly counts: WorkCounts;
      }
    /** Of an audit: the hash of what was computed; nothing was written. */
    | { readonly kind: "audit"; readonly sha256: string; readonly counts: WorkCounts }
    | { readonly kind: "survey"; readonly summary: PlainData; readonly counts: WorkCounts }
    | { readonly kind: "seal"; readonly sha256: readonly string[] }
    | { readonly kind: "failed"; readonly failure: Failure }
  );

/** For progress and tests; no decision rests on them. */
export interface WorkCounts {
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** Tensors that were cut into more than one range inside the worker, for its budget. */
  readonly tensorsCut: number;
}

/** Why something could not be done: an error as plain data. */
export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
  /** Whether trying again, here or elsewhere, can help. */
  readonly retryable: boolean;
}
