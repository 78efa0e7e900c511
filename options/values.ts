import { parseSeed } from "../merge/math/index.ts";
import type { OptionCommand, OptionDeclaration, OptionType } from "./declaration.ts";
import { OptionError } from "./errors.ts";
import { type OptionValues, optionsOf } from "./merge-options.ts";

type Wanted = Pick<OptionDeclaration, "type" | "maximum">;

const units: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  k: 1024,
  m: 1024 ** 2,
  g: 1024 ** 3,
  kib: 1024,
  mib: 1024 ** 2,
  gib: 1024 ** 3,
  tib: 1024 ** 4,
};

/** "512MB", "1.5GiB", "65536"; undefined for anything else. */
export function maybeBytes(text: string): number | undefined {
  const [, digits = "", unit = ""] = /^\s*([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)\s*$/i.exec(text) ?? [];
  const bytes = Math.floor(Number(digits) * (units[unit.toLowerCase()] ?? Number.NaN));
  return digits !== "" && isCount(bytes) ? bytes : undefined;
}

/** "1%", "0.01". */
function maybeShare(text: string): number | undefined {
  const [, digits = "", percent = ""] = /^\s*([0-9]+(?:\.[0-9]+)?)\s*(%?)\s*$/.exec(text) ?? [];
  return digits === "" ? undefined : Number(digits) / (percent === "" ? 1 : 100);
}

/** Decimal or hexadecimal, as decimal. */
function maybeSeed(text: string): string | undefined {
  try {
    const { low, high } = parseSeed(text);
    return String((BigInt(high) << 32n) | BigInt(low));
  } catch {
    return undefined;
  }
}

/** What a text says; undefined for one that says nothing of the kind. */
const readers: Readonly<Record<Exclude<OptionType, "flag" | "texts">, (text: string) => string | number | undefined>> =
  {
    seed: maybeSeed,
    bytes: maybeBytes,
    count: (text) => (/^\d+$/.test(text) ? Number(text) : undefined),
    share: maybeShare,
    text: (text) => text,
  };

/** Whether a value is of the kind that an option takes. */
const checks: Readonly<Record<OptionType, (value: unknown, maximum: number) => boolean>> = {
  seed: (value) => typeof value === "string" && maybeSeed(value) !== undefined,
  bytes: (value) => isCount(value),
  count: (value, maximum) => isCount(value) && value <= maximum,
  share: (value) => typeof value === "number" && value >= 0 && value <= 1,
  flag: (value) => typeof value === "boolean",
  text: (value) => typeof value === "string",
  texts: (value) => Array.isArray(value) && value.every((one) => typeof one === "string"),
};

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0;
}

export function isOptionValue({ type, maximum = Number.MAX_SAFE_INTEGER }: Wanted, value: unknown): boolean {
  return checks[type](value, maximum);
}

/** What somebody wrote for an option. @throws OptionError `options/value` */
export function parseOption(declaration: OptionDeclaration, text: string): string | number {
  const { type } = declaration;
  if (type === "flag" || type === "texts") throw new Error(`${declaration.flag} is not parsed`);
  const value = readers[type](text);
  if (value === undefined || !isOptionValue(declaration, value)) throw wrongValue(declaration, text);
  return value;
}

/** The value that somebody's program gave for an option, which may be of the wrong kind. @throws OptionError `options/value` */
export function checkOption(declaration: OptionDeclaration, value: unknown): void {
  if (!isOptionValue(declaration, value)) throw wrongValue(declaration, String(value));
}

/** All that a command is told: what commander has parsed, a test or a service may have made up. @throws OptionError `options/value` */
export function checkOptions<Command extends OptionCommand>(command: Command, values: OptionValues<Command>): void {
  const given = values as { readonly [name: string]: unknown };
  for (const [name, declaration] of optionsOf(command)) {
    if (given[name] === undefined && declaration.default === undefined) continue;
    checkOption(declaration, given[name]);
  }
}

function wrongValue(declaration: OptionDeclaration, text: string): OptionError {
  return new OptionError("options/value", `${declaration.flag} cannot be ${JSON.stringify(text)}`, {
    hint: `Give ${expected(declaration)}.`,
  });
}

function expected({ type, maximum }: Wanted): string {
  switch (type) {
    case "seed":
      return "a whole number from 0 to 2^64 - 1";
    case "bytes":
      return "a number of bytes, such as 512MB or 1.5GiB";
    case "count":
      return `a whole number${maximum === undefined ? ", 1 or more" : `, 1 to ${maximum}`}`;
    case "share":
      return "a share from 0 to 1, such as 1% or 0.01";
    case "flag":
      return "true or false";
    case "text":
      return "a text";
    case "texts":
      return "texts";
  }
}

/** As people would write it: in the largest unit of which it is a whole number. */
export function bytesText(bytes: number): string {
  const longest = ["TB", "TiB", "GB", "GiB", "MB", "MiB", "kB", "KiB"];
  for (const unit of longest) {
    const factor = units[unit.toLowerCase()] ?? 1;
    if (bytes % factor === 0) return `${bytes / factor}${unit}`;
  }
  return String(bytes);
}
