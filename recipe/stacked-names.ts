import type { ConfigValue, FileValue } from "./config-value.ts";
import type { Findings } from "./findings.ts";
import { type LostNames, modulesOfTensors, movedModules } from "./layer-facts/module-lists.ts";
import type { StaleQuantization } from "./leftover-quantization.ts";
import type { RecipeModel } from "./model-entry.ts";
import type { MadeStack } from "./stack-follower.ts";

/** What the config says of modules by their names, and files beside it. */
export interface StackedNames {
  readonly config: readonly ConfigValue[];
  readonly files: readonly FileValue[];
}

/**
 * What is said of quantisation by the names of modules, which may be those of any stack, made to say it of all of them as they are
 * numbered now. Refuses what cannot be made so, unless it is left out of the output (`stale`).
 */
export function stackedNames(
  model: RecipeModel,
  made: readonly MadeStack[],
  stale: () => StaleQuantization,
  findings: Findings,
): StackedNames {
  const stacks = model.adapter === undefined ? made.filter(({ origins }) => origins.length > 0) : [];
  const config = model.checkpoint.config ?? {};
  const files = filesOf(model);
  if (stacks.length === 0) return { config: [], files: [] };
  const ofStacks = new Set(stacks.flatMap(({ layers }) => [...layers.layers.values()].flat()));
  const others = modulesOfTensors([...model.checkpoint.tensors.keys()].filter((name) => !ofStacks.has(name)));
  const named = stacks.map(({ prefix, origins }) => ({
    prefix,
    origins: origins.map(({ input, layer, layers }) => ({
      ...{ config: input.checkpoint.config ?? {}, files: filesOf(input), layer },
      modules: modulesOfTensors(layers.layers.get(layer) ?? []),
    })),
  }));
  const inConfig = movedModules(config, named, others);
  for (const lost of inConfig.lost) {
    const isLeftOut = stale().edits.some(
      ({ path, value }) => value === undefined && path.every((key, k) => key === lost.path[k]),
    );
    if (!isLeftOut) refuse(lost, "config.json", model, stacks, findings);
  }
  const inFiles = [...files].flatMap(([file, json]) => {
    const ofFile = named.map(({ prefix, origins }) => ({
      prefix,
      origins: origins.map((origin) => ({ ...origin, config: origin.files.get(file) ?? {} })),
    }));
    const whole = (from: Parameters<typeof movedModules>[0] | undefined) =>
      from === undefined ? [] : [{ path: [], part: from }];
    const { values, lost } = movedModules(json, ofFile, others, whole);
    for (const one of lost) if (!stale().files.includes(file)) refuse(one, file, model, stacks, findings);
    return values.map((value) => ({ ...value, file }));
  });
  return { config: inConfig.values, files: inFiles };
}

function filesOf({ quantizerFiles = new Map() }: RecipeModel): NonNullable<RecipeModel["quantizerFiles"]> {
  return quantizerFiles;
}

function refuse(
  { path, pattern, example }: LostNames,
  file: string,
  model: RecipeModel,
  [stack]: readonly MadeStack[],
  findings: Findings,
): void {
  const place = stack?.origins[0]?.range.place;
  if (place === undefined) return;
  const why =
    example === undefined
      ? "and it is not known which"
      : `and would say something else of ${example.module} than of ${example.from}, which goes there`;
  const message = `${path.join(".")} in ${file} of "${model.label}" names modules by a pattern, "${pattern}", ${why}`;
  const hint = `Write the modules out there, one name each, as they are numbered in "${model.label}"; or merge into values, with out_dtype: bfloat16, which need no such list.`;
  findings.fault("recipe/layer-misfit", place, message, hint);
}
