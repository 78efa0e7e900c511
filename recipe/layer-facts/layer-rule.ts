import type { Json } from "../../merge/work/index.ts";

/** A config, or the part of one that counts the layers of a stack. */
export type Config = Readonly<Record<string, unknown>>;

/** What a config says about each layer by itself, under one key or several that go together. */
export interface LayerRule {
  /** The key that is written comes first. */
  readonly keys: readonly string[];
  /** It is about the place alone, and makes no layer one of another kind. */
  readonly isOfPlace?: true;
  /** What is solved holds, though its text differs: it names other layers, which moved as well. */
  readonly isRelative?: true;
  /** What holds for a layer of `count`, as JSON text that can be compared; undefined where the config does not say. */
  at(config: Config, layer: number, count: number): string | undefined;
  /** Values of keys that make `wanted` hold for the layers of the output, one entry a layer; undefined where none can. */
  solve(
    config: Config,
    wanted: readonly string[],
    origins: readonly Origin[],
  ): Readonly<Record<string, Json>> | undefined;
}

/** Where a layer of the output came from. */
export interface Origin {
  /** The part of its model's config that counts its stack. */
  readonly config: Config;
  readonly count: number;
  readonly layer: number;
}

export function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

/** The value of a key, where it is a number of layers, positions or the like. */
export function maybeCount(config: Config, key: string): number | undefined {
  const value = config[key];
  return isCount(value) ? value : undefined;
}
