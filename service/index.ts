export type { CoordinatorName } from "./coordinator-name.ts";
export { type ServiceCode, ServiceError } from "./errors.ts";
export { JobCoordinator, type JobCoordinatorOptions, RefusedError, type Submission } from "./job-coordinator.ts";
export { type JobsHandlersOptions, jobsHandlers } from "./jobs-handlers.ts";
export { parseRoot, type Root, Roots } from "./roots.ts";
export type { JobJournals, ServedJobSurroundings } from "./served-job.ts";
