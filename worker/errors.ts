import { CodedError, type Explanations } from "../errors/index.ts";

/** Every code of a worker's rooms. docs/errors.md is made of this. */
export const workerCodes = {
  "worker/option": {
    means: "A `--root` or `--place` that cannot be one, or a name given twice.",
    advice: "Write `NAME=PATH` or `NAME=s3://bucket/prefix`, with `:ro` behind it for what is only read.",
  },
  "worker/unreachable": {
    means: "The coordinator said nothing for too long, or ended the connection.",
    advice: "Nothing: the worker attaches again, and offers what it has finished.",
  },
  "worker/refused": {
    means:
      "The coordinator does not want this worker: versions that do not fit, a name that is another's, a wrong role. Or the worker could not work for it: its `--io-timeout` is too long for its `--lease`.",
    advice: "The message says what; the worker has ended.",
  },
  "worker/root": {
    means:
      "A job names a place outside of the worker's roots and places, or one that it does not have, or may only read.",
    advice: "Start the worker with the root or place; a link that leads out of a root is not followed.",
  },
  "worker/input-differs": {
    means: "A model behind the worker's root or place has another size, header or version than the plan says.",
    advice:
      "Bring the folders of the machines into line; an object in a bucket was replaced since the job was planned.",
  },
  "worker/damaged-transfer": {
    means: "Fewer or other bytes came than were asked for.",
    advice: "They are asked for again; if it goes on, look at the network.",
  },
  "worker/hung": {
    means: "A thread showed no sign of life while it had work. It was ended and replaced, its slice goes elsewhere.",
    advice: "Look at the storage of that machine: a mount that does not answer is the common cause.",
  },
  "worker/thread-ended": {
    means:
      "A thread ended while it had work: it ran out of memory, say. It was replaced, and what it had is computed again; a unit that goes on ending its threads ends the job.",
    advice: "Give it less `--memory` or fewer `--threads` where memory is short; else please report it with the text.",
  },
  "worker/lease-outlived": {
    means:
      "A call that writes took longer than the lease of its slice. The worker has ended, so that it cannot write behind another's back.",
    advice: "Look at the disk or the mount, then start it again.",
  },
} satisfies Explanations<"worker">;

export type WorkerCode = keyof typeof workerCodes;

/** What goes wrong at a worker that is no fault of data, storage or arithmetic. Retryable: here or on another worker. */
export class WorkerError extends CodedError<WorkerCode> {}
