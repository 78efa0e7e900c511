import { CodedError, type Explanations } from "../../errors/index.ts";

/** Every code a QueueError may carry. docs/errors.md is made of this. */
export const queueCodes = {
  "queue/invalid": {
    means: "A submitted job cannot be queued as it is: its name, its priority, or a recipe of more than 512 KiB.",
    advice: "The message says which.",
  },
  "queue/name-taken": {
    means: "A job of that name has not ended yet.",
    advice: "Choose another name, wait, or cancel the job.",
  },
  "queue/output-taken": {
    means: "Another job that has not ended writes to that output, around it or in it.",
    advice: "Choose another output, or wait.",
  },
  "queue/unknown-job": {
    means: "There is no job of that name, or it is not in a state in which this can be done.",
    advice: "`deltaworks list` shows the jobs.",
  },
  "queue/claim-lost": {
    means: "This coordinator no longer has the job, or what it had reserved for a submission.",
    advice: "Nothing: another goes on with it, or somebody ended it. A submission is made again by itself.",
  },
  "queue/unavailable": {
    means: "The queue did not answer, or its disk failed; whether the change was made is unknown.",
    advice: "Look with `deltaworks list`, then try again.",
  },
  "queue/corrupt": {
    means: "A job's record in the coordinator's state directory, or in NATS, is no record, or one of another version.",
    advice: "The message says which. Ask the version that wrote it, or move the file away and submit the job again.",
  },
} satisfies Explanations<"queue">;

export type QueueCode = keyof typeof queueCodes;

export class QueueError extends CodedError<QueueCode> {}
