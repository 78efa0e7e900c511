import { dtypeBytes, type TensorEntry, vocabularySizeKeys } from "../checkpoint/index.ts";
import { geometryOf, type TensorTask } from "../merge/work/index.ts";
import { rereadTokenizer } from "../tokenizer/index.ts";
import type { Binding } from "./bind.ts";
import { withConfigValues } from "./config-value.ts";
import { expertsTogether } from "./experts.ts";
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
  for (const [tensor, tasks] of tasksByTensor(binding.tasks)) {
    const entry = maybeEntry(tasks);
    if (entry !== undefined) {
      tensors.set(tensor, entry);
      continue;
    }
    const message = `"${name}" makes ${tensor} in several parts, which no later document can build on yet`;
    const hint = "Write it with --keep, and name its directory.";
    findings.repeated("fault", name, "recipe/not-yet", place, message, hint);
  }
  // What is stored twice in the files of the defining model is written once.
  const { aliases: _, copies: __, ...checkpoint } = defining.checkpoint;
  const { tokenizerOf, templateOf } = binding;
  const { tokenizer, tokenizerFault, slowVocabularies } = inputs[tokenizerOf] ?? {};
  const config = checkpoint.config && withCounts(checkpoint.config, binding);
  const made = binding.tokenizer;
  const { quantizerFiles = new Map<string, Config>() } = defining;
  return {
    reference: { text: name, path: name },
    label: name,
    checkpoint: { ...checkpoint, tensors, config },
    ...(made === undefined
      ? { tokenizer, tokenizerFault, slowVocabularies }
      : { tokenizer: rereadTokenizer(made.written, name) }),
    chatTemplate: binding.chatTemplate ?? inputs[templateOf]?.chatTemplate,
    quantizerFiles: withFileValues(quantizerFiles, binding),
    filesOf: binding.definingInput,
    tokenizerOf,
    templateOf,
    made: {
      ...(made && { tokenizer: made }),
      ...(binding.chatTemplate !== undefined && { chatTemplate: binding.chatTemplate }),
    },
  };
}

function tasksByTensor(tasks: readonly TensorTask[]): Map<string, TensorTask[]> {
  const byTensor = new Map<string, TensorTask[]>();
  for (const task of tasks) byTensor.set(task.name, [...(byTensor.get(task.name) ?? []), task]);
  return byTensor;
}

/** Undefined for a tensor of several tasks that are no experts. */
function maybeEntry(tasks: readonly TensorTask[]): ModelEntry | undefined {
  const [task] = tasks;
  if (task === undefined || (tasks.length > 1 && task.expert === undefined)) return undefined;
  const { name, dtype } = task;
  const shape = task.expert === undefined ? task.shape : [task.expert.count, ...task.shape];
  const elementCount = shape.reduce((product, size) => product * size, 1);
  return {
    ...{ name, dtype, shape, elementCount, file: 0, offsetBytes: 0 },
    sizeBytes: elementCount * dtypeBytes[dtype],
    ...(task.written && { ...task.written, elementCount: geometryOf(task.written.shape).elementCount }),
    source:
      task.expert === undefined
        ? { kind: "merged", tensor: name, dtype, storedRowLength: shape.at(-1) ?? 1, task }
        : expertsTogether(tasks),
  };
}

type Config = Readonly<Record<string, unknown>>;

/** The config as it would be written: other documents count by it. */
function withCounts(config: Config, { configValues = [], embeddingRows }: Binding): Config {
  const rows =
    embeddingRows === undefined ? [] : vocabularySizeKeys(config).map((path) => ({ path, value: embeddingRows }));
  return withConfigValues(config, [...configValues, ...rows]);
}

function withFileValues(files: ReadonlyMap<string, Config>, { fileValues = [] }: Binding): ReadonlyMap<string, Config> {
  const own = (name: string) => fileValues.filter(({ file }) => file === name);
  return new Map([...files].map(([name, json]) => [name, withConfigValues(json, own(name))]));
}
