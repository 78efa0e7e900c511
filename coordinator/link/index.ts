export { coordinatorHandlers, type PeerCall, type WorkerIdentity } from "./coordinator-handlers.ts";
export { type LinkCode, LinkError } from "./errors.ts";
export type { JobSigning, RemoteJob } from "./remote-job.ts";
export { type DialWorker, ResultFetcher } from "./result-fetcher.ts";
export { ResultIntake, type ResultStream } from "./result-intake.ts";
export { RpcServer, type RpcServerOptions, type RpcService } from "./rpc-server.ts";
export { type HubOptions, type HubTimes, WorkerHub } from "./worker-hub.ts";
export type {
  GrantAnswer,
  HeldAttempt,
  Renewal,
  ReportAnswer,
  WorkerLink,
  WorkerListener,
  WorkerSource,
  WorkerTraits,
} from "./worker-link.ts";
export type { WorkerFacts, WorkerPeer } from "./worker-peer.ts";
