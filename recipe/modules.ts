import { type Tower, towersOf } from "../checkpoint/index.ts";

/** What the towers are called in recipes: mergekit's names first, then others that are common. */
const towerNames: Readonly<Record<Tower, readonly string[]>> = {
  text: ["text_decoder", "text_model", "language_model", "text", "llm"],
  vision: ["vision_tower", "vision_model", "vision_encoder", "vision", "visual"],
  audio: ["audio_tower", "audio_encoder", "audio"],
  projector: ["multi_modal_projector", "projector", "connector"],
  encoder: ["encoder"],
  decoder: ["decoder"],
  shared: ["shared"],
};

/** Takes all that no other module names; in mergekit the only module of most models. */
export const REST = "default";

/** Which module of a recipe each tensor of a model belongs to. */
export interface ModuleAssignment {
  /** Index into the modules; undefined where none takes the tensor. */
  moduleOf(name: string): number | undefined;
  /** What modules of this model may be called, for messages. */
  readonly known: readonly string[];
}

/**
 * A module's name is the beginning of the names of its tensors (`vision_tower`, `language_model.model.layers`; a leading `model.` may
 * be left out), or the name of a tower, or `default`. The most exact one wins: the longest beginning, then the tower, then `default`.
 */
export function assignModules(modules: readonly string[], names: readonly string[]): ModuleAssignment {
  const towerOf = towersOf(names);
  const known = new Set(names.map(towerOf));
  return {
    moduleOf: (name) => {
      let best: number | undefined;
      let bestScore = -1;
      for (const [k, module] of modules.entries()) {
        const score = scoreOf(module, name, towerOf(name));
        if (score <= bestScore) continue;
        best = k;
        bestScore = score;
      }
      return best;
    },
    known: [...[...known].map((tower) => towerNames[tower][0] ?? tower), REST],
  };
}

function scoreOf(module: string, name: string, tower: Tower): number {
  if (name.startsWith(`${module}.`) || name.startsWith(`model.${module}.`)) return 2 + module.length;
  if (towerNames[tower].includes(module)) return 1;
  return module === REST ? 0 : -1;
}
