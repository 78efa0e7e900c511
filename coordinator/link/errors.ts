import { CodedError } from "../../errors/index.ts";

/** Every code of the room. docs/errors.md explains each. */
export const linkCodes = [
  "link/not-attached",
  "link/name-taken",
  "link/unknown-job",
  "link/not-granted",
  "link/offset",
  "link/result-differs",
  "link/silent",
  "link/unreachable",
  "link/stopping",
] as const;

export type LinkCode = (typeof linkCodes)[number];

/** What the coordinator has against a call of a worker. */
export class LinkError extends CodedError<LinkCode> {}
