import { fileHome, type JobHome, lockedHome, type OutputOwner, sharedHome } from "../coordinator/job/index.ts";
import type { JobSigning } from "../coordinator/link/index.ts";
import { FileOutput, JOURNAL_NAME, ObjectOutput, type Output } from "../output/index.ts";
import type { Prepared } from "../prepare/index.ts";
import {
  type Files,
  join,
  PART_MIN_BYTES,
  type Place,
  type Signing,
  type SlotPart,
  type Stores,
  schemeOf,
  UploadSlots,
} from "../storage/index.ts";
import { ServiceError } from "./errors.ts";
import type { JobOptions } from "./job-options.ts";
import type { SliceLayout } from "./planner.ts";
import type { JobJournals } from "./served-job.ts";

/** Stores behind addresses, and what jobs need whose outputs lie there. */
export interface FarStores {
  readonly stores: Pick<Stores, "objects" | "signing">;
  /** A folder of this machine: of jobs whose journals are in no output, and that are not shared. */
  readonly journals: Place;
  /** Holder of the claim of a prefix of whom somebody is certain that it has ended. */
  readonly takeOver?: string | undefined;
}

/** Where a job writes, and where its journal is. */
export interface JobOutput {
  readonly output: Output;
  readonly home: JobHome;
  readonly owner: OutputOwner | undefined;
  /** Absent: of a folder. */
  readonly objects: SlotObjects | undefined;
}

interface SlotObjects {
  readonly slots: UploadSlots;
  readonly signing: Signing | undefined;
}

/** How long an address is good that a worker reads by; it asks for the next one. */
const READ_MS = 15 * 60_000;

/** What a plan must keep to for a place. @throws ServiceError `service/option` of slices that are no parts */
export function layoutFor(out: Place, { sliceBytes }: Pick<JobOptions, "sliceBytes">): SliceLayout | undefined {
  if (schemeOf(out) === "file") return undefined;
  if (sliceBytes >= PART_MIN_BYTES) return "parts";
  throw new ServiceError(
    "service/option",
    `--slice-size ${sliceBytes}: in a bucket a slice is a part of an upload, which has ${PART_MIN_BYTES} bytes at least`,
    { hint: `Give --slice-size ${PART_MIN_BYTES} or more, or leave it away.` },
  );
}

/** A folder's journal lies in it, or is shared; a bucket's in the coordinator's state, or is shared. */
export async function outputOf(
  files: Files,
  out: Place,
  job: {
    readonly id: string;
    readonly journals: JobJournals | undefined;
    readonly far: FarStores | undefined;
    hasEnded(id: string): Promise<boolean>;
  },
): Promise<JobOutput> {
  const { id, journals, far } = job;
  const owner = { name: id, hasEnded: (other: string) => job.hasEnded(other) };
  const shared = journals && sharedHome(() => journals.open(id));
  if (schemeOf(out) === "file") {
    const output = new FileOutput(files, out);
    const beside = fileHome(files, output.journalFolder);
    return { output, home: shared ?? beside, owner: shared && { ...owner, beside }, objects: undefined };
  }
  if (far === undefined) throw new Error(`nothing here writes to ${out}`);
  const [objects, signing] = [await far.stores.objects(out), await far.stores.signing(out)];
  return {
    output: new ObjectOutput(objects, out, { takeOver: far.takeOver }),
    home: shared ?? lockedHome(files, journalFolder(far, id)),
    ...{ owner, objects: { slots: new UploadSlots(objects), signing } },
  };
}

/** Where the journal of a job is, whose output lies in a bucket. */
export function journalOf(far: FarStores, id: string): Place {
  return join(journalFolder(far, id), JOURNAL_NAME);
}

/** The job is forgotten: so is what was kept of it beside the queue. */
export async function removeJournal(files: Files, far: FarStores, id: string): Promise<void> {
  const folder = journalFolder(far, id);
  if ((await files.identity(folder)) === undefined) return;
  for (const { name } of await files.list(folder)) await files.remove(join(folder, name));
  await files.removeDirectory(folder);
}

function journalFolder({ journals }: FarStores, id: string): Place {
  return join(journals, id);
}

/** What is signed for workers of a job: what it reads and writes in stores that can. `leaseMs`: for how long they may write. */
export async function signingFor(
  far: FarStores | undefined,
  { inputs }: Pick<Prepared, "inputs">,
  { objects, output }: Pick<JobOutput, "objects" | "output">,
  leaseMs: number,
): Promise<JobSigning | undefined> {
  if (far === undefined) return undefined;
  const places = [output.place, ...inputs.flatMap(({ files }) => files.map(({ path }) => path))];
  const byScheme = new Map(places.map((place) => [schemeOf(place), place]));
  byScheme.delete("file");
  const signers = new Map<string, Signing>();
  for (const [scheme, place] of byScheme) {
    const signing = await far.stores.signing(place);
    if (signing !== undefined) signers.set(scheme, signing);
  }
  if (signers.size === 0) return undefined;
  return {
    canRead: (place) => signers.has(schemeOf(place)),
    read: async (place) => {
      const signing = signers.get(schemeOf(place));
      if (signing === undefined) throw new Error(`nothing is signed for ${place}`);
      return signing.signRead(place, READ_MS);
    },
    parts: objects && partSigning(objects, leaseMs),
  };
}

function partSigning({ slots, signing }: SlotObjects, lastsMs: number) {
  if (signing === undefined) return undefined;
  return {
    sign: (slot: Place, part: SlotPart, isGone: boolean) => slots.signPart(signing, slot, part, { lastsMs, isGone }),
    has: (slot: Place, part: SlotPart) => slots.has(slot, part),
  };
}
