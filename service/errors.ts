import { CodedError } from "../errors/index.ts";

/** Every code of the room. docs/errors.md explains each. */
export const serviceCodes = [
  "service/root",
  "service/outside-roots",
  "service/unknown-job",
  "service/output-taken",
  "service/option",
  "service/paused",
] as const;

export type ServiceCode = (typeof serviceCodes)[number];

/** What the long-lived coordinator refuses. */
export class ServiceError extends CodedError<ServiceCode> {}
