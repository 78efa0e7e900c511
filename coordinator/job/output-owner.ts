import { randomUUID } from "node:crypto";
import type { Output } from "../../output/index.ts";
import { type Files, join, makeDurableDirectory, type Place, readWhole, writeWhole } from "../../storage/index.ts";
import { lookAt } from "../journal/index.ts";
import { JobError } from "./errors.ts";
import type { JobHome } from "./job-home.ts";
import { readHistory } from "./records.ts";

/** A job whose journal does not lie in its output, as the output knows it. */
export interface OutputOwner {
  /** Unlike that of any other job. One line. */
  readonly name: string;
  /** Whether another owner's job has ended, so that nobody will go on with what it staged. */
  hasEnded(name: string): Promise<boolean>;
  /** Where a merge has its journal that keeps it beside this output. Absent: none does. */
  readonly beside?: JobHome;
}

/**
 * Whoever has an output's lock may discard what is staged there if it is its own, or nobody will go on with it.
 * @throws JobError `coordinator/other-job`
 */
export async function checkStageIsFree(output: Output, owner: OutputOwner, mayDiscard: boolean): Promise<void> {
  const other = (await output.staged())?.owner;
  if (other !== undefined && other !== owner.name && !(await owner.hasEnded(other))) throw otherJob(output, other);
  const { beside } = owner;
  if (other !== undefined || mayDiscard || beside === undefined || !(await beside.exists())) return;
  const found = await beside.open();
  try {
    const { plan, phase } = await readHistory(lookAt(found));
    if (plan === undefined || phase === "done" || phase === "cancelled") return;
  } finally {
    await found.close();
  }
  throw new JobError("coordinator/other-job", `${output.place} holds an unfinished merge, whose journal lies there`, {
    hint: "Finish it with the command that began it, or discard what it computed with --restart.",
  });
}

/** For merges whose journal lies beside the output: the stage must be theirs. @throws JobError `coordinator/other-job` */
export async function checkNoOwner(output: Output): Promise<void> {
  const other = (await output.staged())?.owner;
  if (other !== undefined) throw otherJob(output, other);
}

/** How a merge of one machine is called whose journal lies in a folder of its own. */
const STATE = "--state ";

/**
 * The owner that a merge of one machine is, whose journal lies in `folder`. Nobody but itself knows whether it has ended. `beside`: where a
 * merge into the same output would have it otherwise, if it could.
 */
export function ownerIn(folder: Place, beside?: JobHome): OutputOwner {
  return { name: `${STATE}${folder}`, hasEnded: async () => false, ...(beside === undefined ? {} : { beside }) };
}

/** Of an output that other machines reach too: there a folder of theirs may have the same name. Its first call notes another name in it. */
export async function ownerOfMachine(files: Files, folder: Place): Promise<OutputOwner> {
  const at = join(folder, OWNER_NAME);
  if ((await files.identity(at)) === undefined) {
    await makeDurableDirectory(files, folder);
    await writeWhole(files, at, Buffer.from(randomUUID()));
  }
  const id = Buffer.from(await readWhole(files, at, OWNER_BYTES_MAX))
    .toString("utf8")
    .trim();
  return { name: `${STATE}${folder} (${id})`, hasEnded: async () => false };
}

const OWNER_NAME = "owner";
const OWNER_BYTES_MAX = 1024;

function otherJob({ place }: Output, other: string): JobError {
  if (other.startsWith(STATE)) {
    return new JobError(
      "coordinator/other-job",
      `${place} holds an unfinished merge, whose journal lies in ${other.slice(STATE.length)}`,
      { hint: "Finish it with the command that began it (merge --state), or discard what it computed with --restart." },
    );
  }
  return new JobError("coordinator/other-job", `${place} holds the unfinished work of job ${other} of a coordinator`, {
    hint: "Wait until that job has ended, or cancel it. If it has ended, discard what it left with --restart.",
  });
}
