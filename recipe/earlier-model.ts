import { dtypeBytes, layerCountKey, type TensorEntry } from "../checkpoint/index.ts";
import type { TensorTask } from "../merge/work/index.ts";
import type { Binding } from "./bind.ts";
import type { Findings } from "./findings.ts";
import type { ModelEntry, RecipeModel } from "./model-entry.ts";
import type { NamedRecipe, RecipeInput } from "./recipe.ts";

/**
 * What an earlier document makes, as a model: its tensors are made while they are read, as if they had been written and read back.
 * What such a model cannot be made of is reported.
 */
export function earlierModel(
  { name, place }: NamedRecipe,
  binding: Binding,
  inputs: readonly RecipeInput[],
  findings: Findings,
): RecipeModel {
  const defining = inputs[binding.definingInput];
  if (defining === undefined) throw new Error(`document ${name} has no defining input`);
  const tensors = new Map<string, TensorEntry>();
  for (const task of binding.tasks) {
    if (tensors.has(task.name)) {
      const message = `"${name}" makes ${task.name} in several parts, which no later document can build on yet`;
      findings.repeated(
        "fault",
        name,
        "recipe/not-yet",
        place,
        message,
        "Write it with --keep, and name its directory.",
      );
    }
    tensors.set(task.name, entryOf(task));
  }
  const { checkpoint, tokenizer, tokenizerFault, chatTemplate } = defining;
  const config = checkpoint.config && withLayerCount(checkpoint.config, binding.layerCount);
  const madeHere = `"${name}" has a vocabulary of its own making, which no later tokenizer key can take apart`;
  return {
    reference: { text: name, path: name },
    label: name,
    checkpoint: { ...checkpoint, tensors, config },
    ...(binding.tokenizer === undefined ? { tokenizer, tokenizerFault } : { tokenizerFault: madeHere }),
    chatTemplate: binding.chatTemplate ?? chatTemplate,
    filesOf: binding.definingInput,
  };
}

function entryOf(task: TensorTask): ModelEntry {
  const { name, dtype, shape } = task;
  const elementCount = shape.reduce((product, size) => product * size, 1);
  return {
    ...{ name, dtype, shape, elementCount, file: 0, offsetBytes: 0 },
    sizeBytes: elementCount * dtypeBytes[dtype],
    source: { kind: "merged", tensor: name, dtype, storedRowLength: shape.at(-1) ?? 1, task },
  };
}

type Config = Readonly<Record<string, unknown>>;

function withLayerCount(config: Config, layerCount: number | undefined): Config {
  const key = layerCountKey(config);
  if (key === undefined || layerCount === undefined) return config;
  const set = (part: Config, [first = "", ...rest]: readonly string[]): Config => ({
    ...part,
    [first]: rest.length === 0 ? layerCount : set(part[first] as Config, rest),
  });
  return set(config, key.path);
}
