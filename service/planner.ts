import { type Failure, FailuresError, failureFrom } from "../merge/work/index.ts";
import { InputsError, type Prepared, prepareText } from "../prepare/index.ts";
import { formatFault, RecipeError } from "../recipe/index.ts";
import { placeOf, type Source } from "../storage/index.ts";
import type { JobOptions } from "./job-options.ts";
import type { Roots } from "./roots.ts";

/** Makes plans of recipes. */
export interface Planner {
  /** No tensor byte is read. @throws RefusedError; ServiceError `service/outside-roots`, `service/planning-limit`; StorageError */
  plan(recipe: string, options: JobOptions, layout?: SliceLayout): Promise<Prepared>;
}

/** Where slices lie, if not as in files: on the grid of parts that a bucket takes. */
export type SliceLayout = "parts";

/** A recipe or models that are refused, every fault as a failure. */
export class RefusedError extends FailuresError {}

/** Plans where it is called: as long as that takes, nothing else is done there. */
export class InlinePlanner implements Planner {
  readonly #store: Source;
  readonly #roots: Roots;

  constructor(store: Source, roots: Roots) {
    this.#store = store;
    this.#roots = roots;
  }

  async plan(recipe: string, options: JobOptions, layout?: SliceLayout): Promise<Prepared> {
    const roots = this.#roots;
    try {
      const prepared = await prepareText(this.#store, recipe, options.recipeName, {
        ...options,
        cwd: placeOf("/"),
        environment: {},
        layout,
        findModel: (reference) => roots.findModel(reference),
      });
      for (const { files } of prepared.inputs) for (const { path } of files) roots.placeOf(path);
      return prepared;
    } catch (error) {
      throw asRefusal(error);
    }
  }
}

/** What a planning thread says: a plan, or why there is none. */
export type Planned =
  | { readonly prepared: Prepared }
  | { readonly failures: readonly [Failure, ...Failure[]]; readonly isRefused: boolean };

export function plannedOf(error: unknown): Planned {
  return error instanceof RefusedError
    ? { failures: error.failures, isRefused: true }
    : { failures: [failureFrom(error)], isRefused: false };
}

/** @throws RefusedError; FailuresError */
export function preparedIn(planned: Planned): Prepared {
  if ("prepared" in planned) return planned.prepared;
  throw planned.isRefused ? new RefusedError(planned.failures) : new FailuresError(planned.failures);
}

function asRefusal(error: unknown): unknown {
  if (error instanceof RecipeError) {
    const [first, ...others] = error.faults.map((fault) => ({
      ...{ code: fault.code, message: formatFault(fault), hint: fault.hint, retryable: false },
    }));
    if (first !== undefined) return new RefusedError([first, ...others]);
  }
  return error instanceof InputsError ? new RefusedError(error.failures) : error;
}
