import type { Plan, PlanUsage } from "./plan.ts";

/** How much of a model a merge uses. */
export interface ModelUsage extends PlanUsage {
  /** Of the elements chosen, 0 to 1; 1 where none are. */
  readonly share: number;
}

/** What each model contributes, in the order of the recipe; of a chain, document after document. */
export function usageOf({ usage = [] }: Pick<Plan, "usage">): readonly ModelUsage[] {
  return usage.map((one) => ({ ...one, share: one.chosenElements === 0 ? 1 : one.usedElements / one.chosenElements }));
}
