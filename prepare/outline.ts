import { type Checkpoint, companionKind, type ModelFacts, modelFacts, type TensorEntry } from "../checkpoint/index.ts";
import { beginsTensor, geometryOf, type Plan, type TensorTask } from "../merge/work/index.ts";
import type { OutputText } from "../output/index.ts";
import { tensorBytes, writtenAs } from "../plan/index.ts";
import type { Recipe } from "../recipe/index.ts";

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
  readonly text?: OutputText | undefined;
  /** As plan.inputs. */
  readonly inputs: readonly { readonly label: string; readonly files: readonly { readonly path: string }[] }[];
}

export function outlineOf(sources: OutlineSources): Outline {
  const { plan, definingCheckpoint } = sources;
  const tensors = new Map(plan.tasks.filter(beginsTensor).map((task) => [task.name, entryOf(task)]));
  const facts = modelFacts({ config: definingCheckpoint.config, tensors });
  // What the config will count is what is there, by the time that it is written.
  const stacks = facts.stacks.map(({ prefix, layers }) => ({ prefix, layers }));
  const vocabulary = facts.vocabulary && { ...facts.vocabulary, configured: facts.vocabulary.rows };
  return {
    output: { ...facts, stacks, vocabulary },
    decisions: decisionsOf(sources, facts),
  };
}

/** Of a tensor of several experts each task makes one. */
function entryOf(task: TensorTask): TensorEntry {
  const { name } = task;
  const { dtype, shape } = writtenAs(task);
  const sizeBytes = tensorBytes(task);
  return { name, dtype, shape, elementCount: geometryOf(shape).elementCount, sizeBytes, file: 0, offsetBytes: 0 };
}

function decisionsOf(sources: OutlineSources, output: ModelFacts): string[] {
  const { plan, recipe, definingCheckpoint } = sources;
  const decisions: string[] = [];
  const label = plan.inputs[plan.definingInput]?.label ?? "";
  if (plan.adapter !== undefined) decisions.push(`adapter_config.json from ${label}`);
  else if (definingCheckpoint.config !== undefined) decisions.push(...configAndTokenizer(sources, label));
  const [dtype] = Object.keys(output.dtypes);
  if (recipe.dtype === undefined && recipe.outDtype === undefined && dtype !== undefined)
    decisions.push(`${dtype} as ${label} has it: the recipe has no dtype`);
  if (/^(?:dare|della)/.test(recipe.method)) decisions.push(`masks from seed ${plan.seed} (--random-seed)`);
  // Some configs say it in several places.
  const tied = plan.configValues?.find(({ path }) => path.at(-1) === "tie_word_embeddings");
  if (tied !== undefined)
    decisions.push(
      tied.value === true ? "the head is tied to the embedding" : "the head is no longer tied to the embedding",
    );
  return decisions;
}

/** Whose they are; of a tokenizer only where there is one and the recipe does not say. */
function configAndTokenizer(
  { recipe, definingCheckpoint, text, inputs }: OutlineSources,
  label: string,
): readonly string[] {
  const giver = text?.tokenizer?.pattern ?? text?.tokenizerFrom ?? definingCheckpoint;
  const kinds = giver.companions.map(companionKind);
  if (recipe.tokenizer !== undefined || !kinds.some((kind) => kind === "tokenizer" || kind === "slow-tokenizer"))
    return [`config from ${label}`];
  const [file] = giver.files;
  const owner = inputs.find(({ files }) => files[0]?.path === file?.path)?.label ?? label;
  return owner === label ? [`config and tokenizer from ${label}`] : [`config from ${label}`, `tokenizer from ${owner}`];
}
