import type { Json } from "../merge/work/index.ts";

/** A value of the output's config that is another than in the config that it is made from. */
export interface ConfigValue {
  /** Keys from the top. */
  readonly path: readonly string[];
  readonly value: Json;
}

/** The same of a JSON file beside the weights. */
export interface FileValue extends ConfigValue {
  readonly file: string;
}

type Config = Readonly<Record<string, unknown>>;

/** The config with these values; parts on the way that are not there are made. */
export function withConfigValues(config: Config, values: readonly ConfigValue[]): Config {
  return values.reduce((edited, { path, value }) => withValue(edited, path, value), config);
}

function withValue(config: Config, [first = "", ...rest]: readonly string[], value: Json): Config {
  return { ...config, [first]: rest.length === 0 ? value : withValue((config[first] ?? {}) as Config, rest, value) };
}
