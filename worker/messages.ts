import type { Assignment, JobDescription, Report, UnitId } from "../merge/work/index.ts";
import type { WorkerBudget } from "./slice-worker.ts";

/** What goes between the coordinator's side and a worker in the same process or machine. Plain data. */
export type ToWorker =
  | {
      readonly type: "begin";
      readonly job: JobDescription;
      readonly budget: WorkerBudget;
      readonly engine: EngineChoice;
    }
  | { readonly type: "assign"; readonly assignment: Assignment }
  | { readonly type: "granted" | "refused"; readonly unit: UnitId; readonly attempt: number }
  | { readonly type: "end" };

export type FromWorker =
  | { readonly type: "ready" }
  | { readonly type: "grant-request"; readonly unit: UnitId; readonly attempt: number }
  | { readonly type: "report"; readonly report: Report }
  | { readonly type: "ended" };

export interface EngineChoice {
  readonly name: "wasm" | "reference";
  readonly maximumBytes: number;
}
