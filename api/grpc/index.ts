export { eventOfMessage, jobOfMessage, workerOfMessage } from "./job-messages.ts";
export { type AnyCall, jobsHandlers } from "./jobs-handlers.ts";
