import type { Plan } from "../merge/work/index.ts";
import type { Lock, Place } from "../storage/index.ts";
import type { OutputDocument } from "./documents/output-document.ts";
import type { OutputClaim, OutputState } from "./output-directory.ts";
import type { OutputFile } from "./records/manifest.ts";
import type { VerifyReport } from "./repair/verify.ts";
import type { ByteRange } from "./seal/read-back.ts";

/**
 * Where a merge's files go, and what a job asks of it: one place that is somebody else's until the last step, and a stage in which slices
 * are put together meanwhile. What a method has resolved is durable. All throw StorageError.
 */
export interface Output {
  /** As people know it. */
  readonly place: Place;
  /** Where a job may keep its journal beside the output; undefined where it cannot be kept there. */
  readonly journalFolder: Place | undefined;
  /** Whether a job may write there, and what it will replace. Nothing is changed. @throws PublishError */
  claim(claim: OutputClaim): Promise<OutputState>;
  /** An output is never written over what it is made of. `inputs`: by their real places. @throws PublishError `publish/output-is-input` */
  checkIsNoInput(inputs: readonly NamedInput[]): Promise<void>;
  /** For one writer. `owner`: a job that several coordinators may lead one after the other. @throws `storage/locked` */
  lock(owner?: string): Promise<Lock>;
  /** Whether there is a stage, and whose: `owner` is what `prepare` was given. */
  staged(): Promise<{ readonly owner: string | undefined } | undefined>;
  /** Removes the stage, and the journal of another job that was kept beside it, if that is asked for. Makes way for `prepare`. */
  makeAnew(journalToo: boolean): Promise<void>;
  /**
   * Makes all ready that slices are written into: every shard, of its full size. What is there stays. `done`: SHA-256 of the slices that
   * were written before, by their names in the plan. Returns the slices that are not there, or not so, as indices into plan.slices: all of a
   * shard that had to be made.
   */
  prepare(plan: Plan, owner?: string, done?: ReadonlyMap<string, string>): Promise<readonly number[]>;
  /** Where each shard's slices are written, and read back, until it is published. */
  slots(plan: Plan): readonly Place[];
  /** All slices are written, and can be read from their slots once it resolves. `sliceSha256s`: in the order of plan.slices. Safe to repeat. */
  closeSlots(plan: Plan, sliceSha256s: readonly string[]): Promise<void>;
  /**
   * In the place of reading back, once slots are closed: what the store itself says of each shard, compared with what was computed. Per
   * shard, as it stands in records (`PartsHash`). Absent where only a reader knows.
   * @throws StorageError `storage/no-checksums`, `storage/hash`
   */
  sealedByStore?(plan: Plan, sliceSha256s: readonly string[]): Promise<readonly string[]>;
  /** SHA-256 of each range of what was written to a slot, read afresh. @throws StorageError `storage/short-read` */
  readBack(slot: Place, ranges: readonly ByteRange[]): Promise<readonly string[]>;
  /** Puts files beside the shards. `by`: unlike that of any other who may do so at the same time. */
  stage(documents: readonly OutputDocument[], by: string): Promise<void>;
  /**
   * Puts a checkpoint in its place, whose files are all in the stage, and removes that. Said again after a crash it ends in the same state;
   * no reader ever finds a mix of old and new. `replaced`: as `claim` told. @throws PublishError
   */
  publish(files: readonly OutputFile[], replaced: readonly string[]): Promise<void>;
  /** Removes the stage: nobody will go on with it. */
  discard(): Promise<void>;
  /** Reads what was published, and says what is not as its records say. @throws PublishError */
  verify(): Promise<VerifyReport>;
  /** The same output for one who may lose it to another: asks before each call that changes anything. @throws what `confirm` throws */
  fenced(confirm: () => Promise<void>): Output;
}

export interface NamedInput {
  readonly label: string;
  readonly files: readonly { readonly path: Place }[];
}
