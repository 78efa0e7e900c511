export { connectNats, type Nats, type NatsOptions, serverOf } from "./connect.ts";
export { type NatsCode, NatsError, natsCodes } from "./errors.ts";
export { DEFAULT_PREFIX, type NatsNames, natsNames, textOf, tokenOf } from "./names.ts";
export { Outage, type OutageOptions } from "./outage.ts";
export { checkServer, isAtLeast, serverFeatures } from "./server-features.ts";
export { checkStreams, createStreams, defaultSizes, type StreamSizes } from "./streams.ts";
