import { type Checkpoint, type ModelFacts, modelFacts, type TensorEntry } from "../../checkpoint/index.ts";
import { geometryOf, type Plan, type TensorTask } from "../../merge/work/index.ts";
import type { Recipe } from "../../recipe/index.ts";
import { tensorBytes, writtenAs } from "../plan/index.ts";

/** The few facts about a merge that its user would want to look at before it begins. Pure: of a plan and what it was made from. */
export interface Outline {
  /** Of the output: as `modelFacts` of a checkpoint that is there. */
  readonly output: ModelFacts;
  /** What the recipe leaves open and how it was settled, a sentence each. */
  readonly decisions: readonly string[];
}

export interface OutlineSources {
  readonly plan: Plan;
  readonly recipe: Recipe;
  readonly definingCheckpoint: Checkpoint;
}

export function outlineOf({ plan, recipe, definingCheckpoint }: OutlineSources): Outline {
  const tensors = new Map(plan.tasks.filter(isFirstOfTensor).map((task) => [task.name, entryOf(task)]));
  const facts = modelFacts({ config: definingCheckpoint.config, tensors });
  // What the config will count is what is there, by the time that it is written.
  const stacks = facts.stacks.map(({ prefix, layers }) => ({ prefix, layers }));
  const vocabulary = facts.vocabulary && { ...facts.vocabulary, configured: facts.vocabulary.rows };
  return {
    output: { ...facts, stacks, vocabulary },
    decisions: decisionsOf({ plan, recipe, definingCheckpoint }, facts),
  };
}

function isFirstOfTensor({ expert }: TensorTask): boolean {
  return expert === undefined || expert.index === 0;
}

/** Of a tensor of several experts each task makes one. */
function entryOf(task: TensorTask): TensorEntry {
  const { name } = task;
  const { dtype, shape } = writtenAs(task);
  const sizeBytes = tensorBytes(task);
  return { name, dtype, shape, elementCount: geometryOf(shape).elementCount, sizeBytes, file: 0, offsetBytes: 0 };
}

function decisionsOf({ plan, recipe, definingCheckpoint }: OutlineSources, output: ModelFacts): string[] {
  const decisions: string[] = [];
  const label = plan.inputs[plan.definingInput]?.label ?? "";
  if (plan.adapter !== undefined) decisions.push(`adapter_config.json from ${label}`);
  else if (definingCheckpoint.config !== undefined)
    decisions.push(`config${recipe.tokenizer === undefined ? " and tokenizer" : ""} from ${label}`);
  const [dtype] = Object.keys(output.dtypes);
  if (recipe.dtype === undefined && recipe.outDtype === undefined && dtype !== undefined)
    decisions.push(`${dtype} as ${label} has it: the recipe has no dtype`);
  if (/^(?:dare|della)/.test(recipe.method)) decisions.push(`masks from seed ${plan.seed} (--random-seed)`);
  for (const { path, value } of plan.configValues ?? []) {
    if (path.at(-1) === "tie_word_embeddings")
      decisions.push(
        value === true ? "the head is tied to the embedding" : "the head is no longer tied to the embedding",
      );
  }
  return decisions;
}
