export type { WorkerLink, WorkerListener, WorkerSource } from "./worker-link.ts";
