export { type QueueCode, QueueError } from "./errors.ts";
export { openFileQueue } from "./file-queue.ts";
export {
  DEFAULT_PRIORITY,
  type JobClaim,
  type JobId,
  type JobQueue,
  type JobRecord,
  type JobReservation,
  type NewJob,
  PRIORITY_MAX,
  type Reserved,
  type Wish,
} from "./job-queue.ts";
export { type NatsQueueOptions, openNatsQueue } from "./nats-queue.ts";
