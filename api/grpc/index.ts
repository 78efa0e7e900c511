export { eventOfMessage, jobOfMessage, stateNameOf, workerOfMessage } from "./job-messages.ts";
export { type AnyCall, jobsHandlers } from "./jobs-handlers.ts";
