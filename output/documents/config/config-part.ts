export type Config = Readonly<Record<string, unknown>>;

export function has(config: Config, path: readonly string[]): boolean {
  return valueAt(config, path) !== undefined;
}

export function valueAt(config: Config, path: readonly string[]): unknown {
  let value: unknown = config;
  for (const key of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<string, unknown>)[key];
  }
  return value;
}
