import { createHash } from "node:crypto";
import { readSafetensorsHeader } from "../../checkpoint/index.ts";
import { parseSeed } from "../../merge/math/index.ts";
import { type JobDescription, type Plan, planFromText } from "../../merge/work/index.ts";
import { InputAccess, type InputFile, type JobDescription as JobMessage, OutputAccess } from "../../proto/index.ts";
import { type Place, placeOf, type Source, schemeOf } from "../../storage/index.ts";
import { bytesOfHex, hexOf, indexPlan, malformed, numberOf, type PlanIndex } from "../../wire/index.ts";
import { inputPath, type JobToBegin, type RemoteInputs, WorkerError } from "../index.ts";
import type { MountedRoots } from "./mounted-roots.ts";

/** A job with its places on this machine. */
export interface LocalJob {
  readonly begin: JobToBegin;
  readonly index: PlanIndex;
  readonly output: OutputAccess;
}

/** Headers that are read at once: on a network's storage each takes its time. */
const OPENINGS_MAX = 8;

/**
 * What the coordinator says of a job, made true here: the plan is the one that was named, every input is found in its root and has the
 * size and the header of the plan. The state in which it is found is the one that it must keep.
 * @throws WorkerError `worker/root`, `worker/input-differs`, `worker/damaged-transfer`; WireError; StorageError; CheckpointError
 */
export async function localJob(
  message: JobMessage,
  planText: Uint8Array,
  {
    store,
    roots,
    remoteInputs,
  }: { readonly store: Source; readonly roots: MountedRoots; readonly remoteInputs: RemoteInputs },
): Promise<LocalJob> {
  const plan = planFrom(message, planText);
  const isSigned = message.inputAccess === InputAccess.INPUT_ACCESS_SIGNED;
  const isRemote = !isSigned && message.inputAccess !== InputAccess.INPUT_ACCESS_ROOTS;
  const inputs: JobDescription["inputs"] = isRemote
    ? remoteFiles(message)
    : await localFiles(store, roots, message, isSigned);
  const description: JobDescription = {
    seed: parseSeed(plan.seed),
    allowNonfinite: plan.options.allowNonfinite,
    inputs,
    shardPaths: [], // threads write nothing
  };
  const shardPaths = await shardPlaces(message, roots);
  if (shardPaths.length !== plan.shards.length)
    throw malformed(`places of ${shardPaths.length} shards, not ${plan.shards.length}`);
  const signed = isSigned ? signedPlaces(message) : [];
  const isSignedOutput = message.outputAccess === OutputAccess.OUTPUT_ACCESS_SIGNED_PART;
  const signedReads = {
    ...{ connection: remoteInputs.connection, inputs: signed },
    shards: isSignedOutput ? shardPaths : [],
  };
  return {
    begin: {
      ...{ job: message.jobId, description, ...(isRemote ? { remoteInputs } : {}) },
      ...(signed.length === 0 && !isSignedOutput ? {} : { signedReads }),
    },
    index: indexPlan(plan, shardPaths),
    output: message.outputAccess,
  };
}

function planFrom({ jobId, planSha256 }: JobMessage, planText: Uint8Array): Plan {
  const found = createHash("sha256").update(planText).digest("hex");
  const expected = hexOf(planSha256, "a SHA-256");
  if (found !== expected) {
    throw new WorkerError("worker/damaged-transfer", `the plan of job ${jobId} has SHA-256 ${found}, not ${expected}`, {
      hint: "Bytes changed on the way; it is asked for again with the next slice.",
      retryable: true,
    });
  }
  return planFromText(planText);
}

/** In the order of the plan's shards; empty where this machine neither writes nor reads them. */
async function shardPlaces(message: JobMessage, roots: MountedRoots): Promise<readonly Place[]> {
  switch (message.outputAccess) {
    case OutputAccess.OUTPUT_ACCESS_ROOTS:
      return Promise.all(message.shards.map((place) => roots.resolve(place, "write")));
    case OutputAccess.OUTPUT_ACCESS_SIGNED_PART:
      return message.shardAddresses.map(addressOf);
    default:
      return message.shards.map(() => placeOf(""));
  }
}

function remoteFiles(message: JobMessage): JobDescription["inputs"] {
  return message.inputs.map(({ label, files }, input) => ({
    label,
    files: files.map(({ sizeBytes, version }, file) => ({
      path: inputPath(input, file),
      sizeBytes: numberOf(sizeBytes, "a size"),
      version,
    })),
  }));
}

/** Files of which each range is asked for in the state that the plan was made for: nothing is looked at before. */
function signedPlaces({ inputs }: JobMessage): NonNullable<JobToBegin["signedReads"]>["inputs"] {
  return inputs.flatMap(({ files }, input) =>
    files.flatMap(({ address }, file) => (address === "" ? [] : [{ place: addressOf(address), input, file }])),
  );
}

function addressOf(text: string): Place {
  const place = placeOf(text);
  if (schemeOf(place) === "file") throw malformed("an address that is a path");
  return place;
}

async function localFiles(
  store: Source,
  roots: MountedRoots,
  message: JobMessage,
  isSigned: boolean,
): Promise<JobDescription["inputs"]> {
  const wanted = message.inputs.flatMap(({ label, files }) => files.map((file) => ({ label, file })));
  const found: JobDescription["inputs"][number]["files"][number][] = [];
  let next = 0;
  const open = async () => {
    for (let k = next++; k < wanted.length; k = next++) {
      const { label, file } = wanted[k] ?? {};
      if (label === undefined || file === undefined) continue;
      found[k] = isSigned && file.address !== "" ? signedFile(file) : await checkedFile(store, roots, label, file);
    }
  };
  await Promise.all(Array.from({ length: OPENINGS_MAX }, open));
  return message.inputs.map(({ label, files }) => ({ label, files: found.splice(0, files.length) }));
}

function signedFile({ address, sizeBytes, version }: InputFile) {
  return { path: addressOf(address), sizeBytes: numberOf(sizeBytes, "a size"), version };
}

/** Versions of files differ from machine to machine, sizes and headers must not; an object has one version wherever it is read. */
async function checkedFile(
  store: Source,
  roots: MountedRoots,
  label: string,
  { place, sizeBytes, headerSha256, version }: InputFile,
) {
  const path = await roots.resolve(place, "read");
  const { file } = await readSafetensorsHeader(store, path, label);
  const isFile = schemeOf(path) === "file";
  const differences = [
    BigInt(file.sizeBytes) === sizeBytes ? [] : [`${file.sizeBytes} bytes instead of ${sizeBytes}`],
    bytesOfHex(file.headerSha256).equals(headerSha256) ? [] : ["another header"],
    isFile || file.version === version ? [] : [`version ${file.version} instead of ${version}`],
  ].flat();
  if (differences.length === 0) {
    return { path, sizeBytes: file.sizeBytes, version: file.version };
  }
  throw new WorkerError(
    "worker/input-differs",
    `${label}: ${path} has ${differences.join(" and ")}: it is not the plan's`,
    {
      hint: isFile
        ? "The folder behind --root holds another version of the model than the coordinator sees: bring them into line."
        : "The object was replaced since the job was planned, or --place names another bucket here than at the coordinator.",
      retryable: true,
    },
  );
}
