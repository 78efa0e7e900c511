export type {
  GrantAnswer,
  HeldAttempt,
  ReportAnswer,
  WorkerLink,
  WorkerListener,
  WorkerSource,
  WorkerTraits,
} from "./worker-link.ts";
