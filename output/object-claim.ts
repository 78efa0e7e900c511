import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import {
  ifThere,
  isTaken,
  join,
  type Lock,
  type Objects,
  type Place,
  readWithVersion,
  StorageError,
  type Version,
} from "../storage/index.ts";
import { CLAIM_PATH } from "./records/file-names.ts";

/** Who has a prefix, as it stands in the bucket. */
interface Claim {
  /** Whose work it is; another process of the same owner takes it over. "": nobody's who could. */
  readonly owner: string;
  /** The process. One line without spaces, for `--take-over`. */
  readonly holder: string;
  /** How often it was taken over. */
  readonly epoch: number;
}

interface FoundClaim {
  readonly claim: Claim;
  readonly version: Version;
}

const CLAIM_BYTES_MAX = 16 * 1024;
/** Each is lost to another who was faster. */
const TRIES_MAX = 20;

/**
 * Takes a prefix for one writer: an object that is put where none is, or in place of one in just the state that was seen. It does not end
 * with its process, as a lock of a file does. `gone`: a holder of whom somebody is certain that it has ended.
 * @throws StorageError `storage/locked`
 */
export async function claimPrefix(
  objects: Objects,
  place: Place,
  owner: string | undefined,
  gone: string | undefined,
): Promise<Lock> {
  const at = join(place, CLAIM_PATH);
  const holder = `${hostname().replaceAll(/[^\w.-]/g, "_")}/${randomUUID()}`;
  for (let tries = 1; ; tries++) {
    const found = await maybeClaim(objects, at);
    // Whoever stands between us and the store may have asked it twice, and told what it said last.
    if (found?.claim.holder === holder) return { release: () => released(objects, at, found.version) };
    if (found !== undefined && !mayTake(found.claim, owner, gone)) throw lockedBy(place, found.claim);
    const claim: Claim = { owner: owner ?? "", holder, epoch: (found?.claim.epoch ?? 0) + 1 };
    const condition = found === undefined ? { ifAbsent: true as const } : { ifVersion: found.version };
    try {
      const version = await objects.put(at, Buffer.from(`${JSON.stringify(claim)}\n`), condition);
      if (found === undefined) await checkConditions(objects, at, version);
      return { release: () => released(objects, at, version) };
    } catch (error) {
      if (!isTaken(error) || tries >= TRIES_MAX) throw error;
    }
  }
}

/**
 * All that keeps two from writing one output is that a store keeps to conditions. One that does not know them passes over them in silence: it
 * is asked to put another claim where one is. @throws StorageError `storage/no-conditions`
 */
async function checkConditions(objects: Objects, at: Place, version: Version): Promise<void> {
  try {
    await objects.put(at, Buffer.from("whether this is refused\n"), { ifAbsent: true });
  } catch (error) {
    if (error instanceof StorageError && error.code === "storage/exists") return;
    await released(objects, at, version);
    throw error;
  }
  await objects.remove(at);
  throw new StorageError(
    "storage/no-conditions",
    `the store of ${at} put an object where one was, though it was to put it where none is`,
    {
      hint: "Nothing is written to such a store: two could write one output. Merge into a folder, and copy it there.",
    },
  );
}

/** The process that has a prefix, or had it when it ended; undefined: none. */
export async function claimHolder(objects: Objects, place: Place): Promise<string | undefined> {
  return (await maybeClaim(objects, join(place, CLAIM_PATH)))?.claim.holder;
}

async function released(objects: Objects, at: Place, version: Version): Promise<void> {
  try {
    await objects.remove(at, { ifVersion: version });
  } catch (error) {
    if (!isTaken(error)) throw error; // another has taken it over
  }
}

function mayTake({ owner: has, holder }: Claim, owner: string | undefined, gone: string | undefined): boolean {
  return holder === gone || (owner !== undefined && has === owner);
}

async function maybeClaim(objects: Objects, at: Place): Promise<FoundClaim | undefined> {
  const found = await ifThere(() => readWithVersion(objects, at, CLAIM_BYTES_MAX));
  return found && { claim: parseClaim(found.bytes), version: found.version };
}

/** What is no claim is somebody's all the same. */
function parseClaim(bytes: Uint8Array): Claim {
  try {
    const { owner, holder, epoch } = JSON.parse(Buffer.from(bytes).toString("utf8")) as Partial<Claim>;
    if (typeof owner === "string" && typeof holder === "string" && Number.isSafeInteger(epoch))
      return { owner, holder, epoch: Number(epoch) };
  } catch {
    // below
  }
  return { owner: "", holder: "unknown", epoch: 0 };
}

function lockedBy(place: Place, { owner, holder }: Claim): StorageError {
  const whose = owner === "" ? "" : `, for ${owner}`;
  return new StorageError("storage/locked", `cannot lock ${place}: ${holder} holds it${whose}`, {
    hint:
      "Wait until it has ended, or stop it there. If you are certain that it has ended (a machine that is gone), give the command that " +
      `needs the lock: --take-over ${holder}`,
    retryable: true,
  });
}
