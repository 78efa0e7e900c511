import { type FloatDtype, isFloatDtype } from "../../checkpoint/index.ts";
import type { ModelSource, Parameters, TensorSource, TensorTask } from "../work/index.ts";
import type { ParameterDeclaration } from "./definition.ts";

export const weightDocumentation = "How much of the model goes in; may be negative.";

export function lambdaParameter(documentation: string): ParameterDeclaration {
  return { scope: "global", type: "number", default: 1, documentation };
}

/** What every weighted sum of deltas takes besides weights. */
export const sumParameters: Readonly<Record<string, ParameterDeclaration>> = {
  lambda: lambdaParameter("Factor for the whole sum, after normalizing."),
  int8_mask: {
    scope: "global",
    type: "boolean",
    default: false,
    documentation: "Accepted for mergekit's sake; no effect.",
  },
};

/** What every method takes that looks at a tensor as a whole. The recipe room cuts the tensors (docs/recipe.md, "Experts"). */
export const scopeParameter: Readonly<Record<string, ParameterDeclaration>> = {
  scope: {
    scope: "global",
    type: "word",
    default: "tensor",
    words: ["tensor", "expert"],
    documentation:
      "expert: of experts that lie in one tensor each has thresholds, masks and sums of its own, as if it were stored alone; tensor: they are one tensor, as in mergekit.",
  },
};

/** A number that recipe validation has made sure of. */
export function number(parameters: Parameters, name: string): number {
  const value = maybeNumber(parameters, name);
  if (value === undefined) throw new Error(`parameter ${name} should have been resolved to a number`);
  return value;
}

export function maybeNumber(parameters: Parameters, name: string): number | undefined {
  const value = parameters[name];
  return typeof value === "number" ? value : undefined;
}

export function flag(parameters: Parameters, name: string): boolean {
  return parameters[name] === true;
}

/** The base of a method that keeps it apart. */
export function baseOf(task: TensorTask): TensorSource {
  if (task.base === undefined) throw new Error(`${task.name} should have a base`);
  return task.base;
}

export function onlyModel(task: TensorTask): ModelSource {
  const [model] = task.models;
  if (model === undefined || task.models.length !== 1) throw new Error(`${task.name} should have one model`);
  return model;
}

/** Only tensors of numbers are merged; others are copied before a method is asked. */
export function floatDtype(source: TensorSource): FloatDtype {
  if (!isFloatDtype(source.dtype)) throw new Error(`${source.tensor} of dtype ${source.dtype} cannot be merged`);
  return source.dtype;
}
