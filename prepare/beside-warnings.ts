import { type Checkpoint, companionKind, isCode } from "../checkpoint/index.ts";
import type { Binding, Fault, Recipe, RecipeInput } from "../recipe/index.ts";

/** What is worth a word of the files beside the weights of the model whose folder the output takes after. */
export function besideWarnings(
  { fileName, methodPlace }: Pick<Recipe, "fileName" | "methodPlace">,
  inputs: readonly Pick<RecipeInput, "label" | "checkpoint" | "adapter">[],
  binding: Pick<Binding, "definingInput" | "tokenizerOf" | "tokenizer">,
): readonly Fault[] {
  const defining = inputs[binding.definingInput];
  if (defining === undefined) return [];
  const { label, checkpoint } = defining;
  const { companions, leftBehind = [], missingCode = [] } = checkpoint;
  const warning = (code: Fault["code"], message: string, hint: string): Fault => {
    return { code, message: `"${label}": ${message}`, hint, file: fileName, ...methodPlace };
  };
  const configured = inputs.find(
    ({ checkpoint: { config }, adapter }) => config !== undefined && adapter === undefined,
  );
  const isBare = checkpoint.config === undefined;
  const [file, ...shards] = isBare ? [] : checkpoint.files.map(({ name }) => name);
  const named = file !== undefined && shards.length === 0 && isOfOwnName(file) ? file : undefined;
  const code = companions.filter(isCode);
  const hasTokenizer = ({ checkpoint: { companions: names } }: Pick<RecipeInput, "checkpoint">) =>
    names.some((name) => companionKind(name) === "slow-tokenizer" || name === "tokenizer.json");
  const copied = inputs[binding.tokenizerOf] ?? defining;
  const spelled = binding.tokenizer || hasTokenizer(copied) ? undefined : inputs.find(hasTokenizer);
  const weights = inputs.length > 1 ? companions.filter(isWeights) : [];
  return [
    ...(isBare && configured !== undefined
      ? [
          warning(
            "recipe/files-left-behind",
            "it has no config.json, and the output neither: loaders cannot tell what model that is",
            `Name a model with a config.json as base_model, or first, or copy that of "${configured.label}" if it fits.`,
          ),
        ]
      : []),
    ...(spelled === undefined
      ? []
      : [
          warning(
            "recipe/files-left-behind",
            `it has no tokenizer, and the output neither: "${spelled.label}" has one`,
            `Name a model with a tokenizer as base_model, or first, or copy that of "${spelled.label}" if it fits.`,
          ),
        ]),
    ...(named === undefined
      ? []
      : [
          warning(
            "recipe/files-left-behind",
            `its weights are called ${named}, those of the output model.safetensors`,
            "What loads such models (diffusers, mistral's own programs) may look for the first name: rename the output's files then.",
          ),
        ]),
    ...(leftBehind.length === 0
      ? []
      : [
          warning(
            "recipe/files-left-behind",
            `left behind, as no loader is known to need ${leftBehind.length === 1 ? "it" : "them"}: ${some(leftBehind)}`,
            "Copy into the output what it needs to be loaded.",
          ),
        ]),
    ...(missingCode.length === 0
      ? []
      : [
          warning(
            "recipe/files-left-behind",
            `its auto_map names code that is not there: ${some(missingCode)}`,
            "Get the files: neither this model nor the output can be loaded without them.",
          ),
        ]),
    ...(code.length === 0
      ? []
      : [
          warning(
            "recipe/code-carried",
            `code is carried along, which runs where the output is loaded with trust_remote_code: ${some(code)}`,
            "It is as trustworthy as the model it comes from: read it.",
          ),
        ]),
    ...(weights.length === 0
      ? []
      : [
          warning(
            "recipe/weights-copied",
            `weights in folders are copied, not merged: ${some(weights)}`,
            "Where the other models have such weights of their own, these are kept as they stand in this one.",
          ),
        ]),
  ];
}

/** Neither what transformers looks for, nor what a conversion from pickle files leaves. */
function isOfOwnName(name: string): boolean {
  return !/^(?:pytorch_|adapter_)?model\b/.test(name);
}

function isWeights(name: Checkpoint["companions"][number]): boolean {
  return /\.(?:safetensors|bin|pt|pth|ckpt)$/.test(name);
}

function some(names: readonly string[]): string {
  const shown = names.slice(0, 6).join(", ");
  return names.length > 6 ? `${shown} and ${names.length - 6} more` : shown;
}
