import { CodedError, type Explanations } from "../../errors/index.ts";

/** Every code of the room. docs/errors.md is made of this. */
export const linkCodes = {
  "link/not-attached": {
    means: "A call of a worker that is not attached.",
    advice: "Nothing: it attaches and tries again.",
  },
  "link/name-taken": {
    means: "A worker of that name is attached already.",
    advice:
      "Give each worker a name of its own (`--name`). A restarted one is let in as soon as its old connection is noticed to be gone.",
  },
  "link/unknown-job": {
    means: "The job is not running at this coordinator.",
    advice: "Nothing: the worker drops what it holds of it.",
  },
  "link/not-granted": {
    means: "A result came of an attempt that has no grant, or no more.",
    advice: "Nothing: the slice is another's now.",
  },
  "link/offset": {
    means: "A result went on at another byte than was to come.",
    advice: "Nothing: the worker asks how much has arrived.",
  },
  "link/result-differs": {
    means: "What arrived has another SHA-256 than was announced.",
    advice: "It is sent again. If it happens again: the worker's memory, or a proxy on the way.",
  },
  "link/unreachable": {
    means: "A result could not be fetched from where its worker listens.",
    advice: "Check the address of `--listen` and the firewall; without `--listen` the worker sends its results itself.",
  },
  "link/silent": {
    means: "A connection brought no heartbeats.",
    advice: "Nothing: the worker attaches again. If often: the network, or a machine that is too busy.",
  },
  "link/stopping": {
    means: "The coordinator is shutting down.",
    advice: "Nothing: workers keep what they have and attach to the next one.",
  },
} satisfies Explanations<"link">;

export type LinkCode = keyof typeof linkCodes;

/** What the coordinator has against a call of a worker. */
export class LinkError extends CodedError<LinkCode> {}
