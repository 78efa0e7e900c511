import { type Files, join, type Place, readWhole, type Source, writeWhole } from "../../storage/index.ts";
import { lookAt, openFileJournal } from "../journal/index.ts";
import { JobError } from "./errors.ts";
import { readHistory } from "./records.ts";

/** A job whose journal does not lie in its output, as the output knows it. */
export interface OutputOwner {
  /** Unlike that of any other job. One line. */
  readonly name: string;
  /** Whether another owner's job has ended, so that nobody will go on with what it staged. */
  hasEnded(name: string): Promise<boolean>;
}

/** In the stage, so that it goes with it. */
const OWNER_NAME = ".owner";
const OWNER_BYTES_MAX = 1024;

/** Whose stage it is; undefined where it is that of the journal beside it, or there is none. */
async function ownerOf(store: Source, stage: Place): Promise<string | undefined> {
  const path = join(stage, OWNER_NAME);
  if ((await store.identity(path)) === undefined) return undefined;
  return Buffer.from(await readWhole(store, path, OWNER_BYTES_MAX)).toString();
}

/** For those who come after. The stage is there. */
export function noteOwner(store: Files, stage: Place, { name }: OutputOwner): Promise<void> {
  return writeWhole(store, join(stage, OWNER_NAME), Buffer.from(name));
}

/**
 * Whoever has an output's lock may discard what is staged there if it is its own, or nobody will go on with it. `journal`: where that of
 * merges lies whose journal is in the output.
 * @throws JobError `coordinator/other-job`
 */
export async function checkStageIsFree(
  store: Files,
  { out, stage, journal }: { readonly out: string; readonly stage: Place; readonly journal: Place },
  owner: OutputOwner,
  mayDiscard: boolean,
): Promise<void> {
  const other = await ownerOf(store, stage);
  if (other !== undefined && other !== owner.name && !(await owner.hasEnded(other))) {
    throw new JobError("coordinator/other-job", `${out} holds the unfinished work of job ${other}`, {
      hint: "Wait until that job has ended, or cancel it.",
    });
  }
  if (other !== undefined || mayDiscard || (await store.identity(journal)) === undefined) return;
  const found = await openFileJournal(store, journal);
  try {
    const { plan, phase } = await readHistory(lookAt(found));
    if (plan === undefined || phase === "done" || phase === "cancelled") return;
  } finally {
    await found.close();
  }
  throw new JobError("coordinator/other-job", `${out} holds an unfinished merge, whose journal lies there`, {
    hint: "Finish it with the command that began it, or discard what it computed with --restart.",
  });
}

/** For merges whose journal lies in the output: the stage must be theirs. @throws JobError `coordinator/other-job` */
export async function checkNoOwner(store: Source, out: string, stage: Place): Promise<void> {
  const other = await ownerOf(store, stage);
  if (other === undefined) return;
  throw new JobError("coordinator/other-job", `${out} holds the unfinished work of job ${other} of a coordinator`, {
    hint: "Wait until that job has ended, or cancel it. If it has ended, discard what it left with --restart.",
  });
}
