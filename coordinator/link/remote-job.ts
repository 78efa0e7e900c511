import type { JobDescription, Plan, RootedPath, SealWork } from "../../merge/work/index.ts";
import { InputAccess, type JobDescription as JobDescriptionMessage, OutputAccess } from "../../proto/index.ts";
import type { Place, SignedAddress, SlotPart } from "../../storage/index.ts";
import { bytesOfHex } from "../../wire/index.ts";
import type { PartsIntake } from "./result-intake.ts";

/** What must be known of a job so that other machines can work on it. */
export interface RemoteJob {
  readonly id: string;
  readonly plan: Plan;
  /** SHA-256 of its text. */
  readonly planDigest: string;
  /** On this machine, with the states that were found. */
  readonly inputs: JobDescription["inputs"];
  /** On this machine, in the order of plan.shards. */
  readonly shardPaths: readonly Place[];
  /** The same by the names of roots: every machine has its own mounts. */
  readonly inputPlaces: readonly (readonly RootedPath[])[];
  readonly shardPlaces: readonly RootedPath[];
  /** What is in storage: SHA-256 of each range of a seal, read afresh on this machine. */
  readBack(work: SealWork): Promise<readonly string[]>;
  /** Puts a slice into its slot, where the output is written in parts. */
  readonly putPart?: PartsIntake["put"] | undefined;
  /** Absent: nothing of the job can be reached by workers without keys of their own. */
  readonly signing?: JobSigning | undefined;
}

/** Addresses for workers that have no keys, signed with this machine's. */
export interface JobSigning {
  /** Whether a place can be read by one. */
  canRead(place: Place): boolean;
  read(place: Place): Promise<SignedAddress>;
  /** For the output's slots; absent: they lie in no store that can. */
  readonly parts?: PartSigning | undefined;
}

export interface PartSigning {
  /** To put a slice into its slot, and no other bytes. `isGone`: what the last address belonged to is not there any more. */
  sign(slot: Place, part: SlotPart, isGone: boolean): Promise<SignedAddress>;
  /** Whether a slice is in its slot, as the store says. */
  has(slot: Place, part: SlotPart): Promise<boolean>;
}

/** What decides how a worker reaches the data. */
export interface WorkerReach {
  readonly roots: ReadonlyMap<string, { readonly writable: boolean }>;
  /** HOST:PORT where it offers its results; empty: nowhere. */
  readonly listenAddress: string;
  /** Whether it goes by addresses that are signed for it. */
  readonly takesSigned: boolean;
}

/** Through its own mounts and keys where it has them, then by what is signed for it; else through the coordinator. */
export function accessOf(job: RemoteJob, reach: WorkerReach) {
  const { roots, listenAddress } = reach;
  const seesInputs = job.inputPlaces.every((files) => files.every(({ root }) => roots.has(root)));
  const isInReach = job.inputs.every(({ files }, input) =>
    files.every((_, file) => isOwn(job, reach, input, file) || signedInput(job, reach, input, file) !== undefined),
  );
  const writesOutput = job.shardPlaces.every(({ root }) => roots.get(root)?.writable === true);
  const sends = listenAddress === "" ? OutputAccess.OUTPUT_ACCESS_SEND_RESULT : OutputAccess.OUTPUT_ACCESS_FETCH_RESULT;
  const isSigned = reach.takesSigned && job.signing?.parts !== undefined;
  const otherwise = isInReach ? InputAccess.INPUT_ACCESS_SIGNED : InputAccess.INPUT_ACCESS_READ_INPUT;
  return {
    input: seesInputs ? InputAccess.INPUT_ACCESS_ROOTS : otherwise,
    output: writesOutput ? OutputAccess.OUTPUT_ACCESS_ROOTS : isSigned ? OutputAccess.OUTPUT_ACCESS_SIGNED_PART : sends,
  };
}

/** Whether a worker that writes so also reads what was written: then it does so for the seal. */
export function seesOutput(output: OutputAccess): boolean {
  return output === OutputAccess.OUTPUT_ACCESS_ROOTS || output === OutputAccess.OUTPUT_ACCESS_SIGNED_PART;
}

function isOwn({ inputPlaces }: RemoteJob, { roots }: WorkerReach, input: number, file: number): boolean {
  return roots.has(inputPlaces[input]?.[file]?.root ?? "");
}

/** Where a worker reads a file by addresses that are signed for it; undefined: not so. */
function signedInput(job: RemoteJob, reach: WorkerReach, input: number, file: number): Place | undefined {
  const place = job.inputs[input]?.files[file]?.path;
  const isSigned = reach.takesSigned && !isOwn(job, reach, input, file);
  return isSigned && place !== undefined && job.signing?.canRead(place) === true ? place : undefined;
}

export function messageOfRemoteJob(job: RemoteJob, reach: WorkerReach): JobDescriptionMessage {
  const access = accessOf(job, reach);
  return {
    jobId: job.id,
    planSha256: bytesOfHex(job.planDigest),
    inputs: job.inputs.map(({ label, files }, input) => ({
      label,
      files: files.map(({ sizeBytes, version }, file) => ({
        place: job.inputPlaces[input]?.[file],
        sizeBytes: BigInt(sizeBytes),
        version,
        headerSha256: bytesOfHex(job.plan.inputs[input]?.files[file]?.headerSha256 ?? ""),
        address: signedInput(job, reach, input, file) ?? "",
      })),
    })),
    shards: [...job.shardPlaces],
    inputAccess: access.input,
    outputAccess: access.output,
    shardAddresses: access.output === OutputAccess.OUTPUT_ACCESS_SIGNED_PART ? [...job.shardPaths] : [],
  };
}
