export { checkAccess } from "./check-access.ts";
export {
  type ConditionalMessage,
  compareAndSet,
  lastMessage,
  lastSequence,
  type NotStored,
  type Stored,
  WRITER_HEADER,
  writeMark,
} from "./compare-and-set.ts";
export { connectNats, type Nats, type NatsOptions, serverOf } from "./connect.ts";
export { type NatsCode, NatsError } from "./errors.ts";
export { journalKeeper } from "./journal-keeper.ts";
export { type NatsNames, natsNames, textOf, tokenOf } from "./names.ts";
export { Outage, type OutageOptions } from "./outage.ts";
export { coordinatorPermissions, type Permissions, permissionsText } from "./permissions.ts";
export { purgeJob } from "./purge-job.ts";
export { consumerName, type ReplayRange, replay } from "./replay.ts";
export { checkServer, isAtLeast } from "./server-features.ts";
export {
  ACK_WAIT_MS,
  checkStreams,
  createStreams,
  defaultSizes,
  PRIORITIES,
  priorityConsumer,
  type StreamSizes,
} from "./streams.ts";
