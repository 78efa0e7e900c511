import type { JobDescription, Plan, RootedPath, SealWork } from "../../merge/work/index.ts";
import { InputAccess, type JobDescription as JobDescriptionMessage, OutputAccess } from "../../proto/index.ts";
import type { Place } from "../../storage/index.ts";
import { bytesOfHex } from "../../wire/index.ts";

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
}

/** What decides how a worker reaches the data. */
export interface WorkerReach {
  readonly roots: ReadonlyMap<string, { readonly writable: boolean }>;
  /** HOST:PORT where it offers its results; empty: nowhere. */
  readonly listenAddress: string;
}

/** Through its own mounts where it has them; else through the coordinator. */
export function accessOf(job: RemoteJob, { roots, listenAddress }: WorkerReach) {
  const seesInputs = job.inputPlaces.every((files) => files.every(({ root }) => roots.has(root)));
  const writesOutput = job.shardPlaces.every(({ root }) => roots.get(root)?.writable === true);
  const sends = listenAddress === "" ? OutputAccess.OUTPUT_ACCESS_SEND_RESULT : OutputAccess.OUTPUT_ACCESS_FETCH_RESULT;
  return {
    input: seesInputs ? InputAccess.INPUT_ACCESS_ROOTS : InputAccess.INPUT_ACCESS_READ_INPUT,
    output: writesOutput ? OutputAccess.OUTPUT_ACCESS_ROOTS : sends,
  };
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
      })),
    })),
    shards: [...job.shardPlaces],
    inputAccess: access.input,
    outputAccess: access.output,
  };
}
