import { CodedError, type Explanations } from "../../errors/index.ts";

/** Every code of the room; those from `nondeterministic` on travel as failures of the core. docs/errors.md is made of this. */
export const jobCodes = {
  "coordinator/other-job": {
    means: "The output holds an unfinished merge of another plan; what differs is named.",
    advice: "Run it as it was to finish it, or `--restart`.",
  },
  "coordinator/no-space": {
    means:
      "The disk of the output has less left than the merge has to write. A merge that goes on is warned of it only.",
    advice: "Free some space, or choose another directory.",
  },
  "coordinator/incomplete": {
    means: "The merge was published here, and files are missing or changed since.",
    advice: "`deltaworks repair`, or merge anew with `--overwrite`.",
  },
  "coordinator/bad-record": {
    means:
      "A record of the journal says something that no record says: another version or program wrote it. Subject and field are named.",
    advice: "Finish with the version that began the merge, or `--restart`.",
  },
  "coordinator/nondeterministic": {
    means:
      "Three attempts at one slice gave different bytes, or workers that were asked the same of a tensor or of storage answered differently, and no others could decide.",
    advice: "Check the memory of the machines that the message names, and that all of them see the same storage.",
  },
  "coordinator/storage-damages": {
    means: "Storage gave back other bytes than were written, again and again.",
    advice: "Check the disk, or write to another one. Finished slices are kept.",
  },
  "coordinator/stalled": {
    means:
      "Workers hold units of a job, or are free and may take none of them (two computed a slice differently, and there is no third), and for a minute, four leases and ten times what a unit usually takes nobody has finished one. The job goes on if it can; `status` and the log say so.",
    advice:
      "The message says what it waits for, where that is known. Else look into the workers' logs and at their storage.",
  },
  "coordinator/workers-vanish": {
    means:
      "So many attempts at one slice ended without a word from their workers that something about the slice may be what ends them.",
    advice:
      "Look into the workers' logs (killed for their memory?), then submit the job again: finished slices are kept.",
  },
  "coordinator/not-as-granted": {
    means: "A worker wrote something else than it asked to write, or was not granted to write at all.",
    advice:
      "Check the memory of that machine, and that it runs the same version. The slice is computed again elsewhere.",
  },
  "coordinator/other-than-lent": {
    means:
      "A worker reported something else than it was lent: a survey for a slice, a seal for a survey, fewer hashes than ranges, a summary of another form than was asked for. The report changed nothing, and the worker gets no work for a while.",
    advice: "Run the coordinator's release on that machine.",
  },
} satisfies Explanations<"coordinator">;

export type JobCode = keyof typeof jobCodes;

/** A job that cannot be begun or resumed as asked. */
export class JobError extends CodedError<JobCode> {}
