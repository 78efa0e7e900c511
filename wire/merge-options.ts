import {
  checkOption,
  type OptionDeclaration,
  optionsOf,
  parseOption,
  type SubmittedOptions,
} from "../options/index.ts";
import { MergeOptions } from "../proto/index.ts";

/** An option of which nothing is said is left out, and the coordinator decides; false is what says nothing of a flag. */
export function messageOfOptions(options: Partial<SubmittedOptions>): MergeOptions {
  const fields = optionsOf("submit").flatMap(([name, { type, field = "" }]) => {
    const value = options[name];
    if (value === undefined) return [];
    return [[field, type === "bytes" ? BigInt(value) : value]];
  });
  return MergeOptions.fromPartial(Object.fromEntries(fields));
}

/** What is said, and no more. @throws OptionError `options/value` */
export function optionsOfMessage(message: MergeOptions | undefined): Partial<SubmittedOptions> {
  const fields = (message ?? {}) as { readonly [field: string]: unknown };
  const said = optionsOf("submit").flatMap(([name, declaration]) => {
    const value = fields[declaration.field ?? ""];
    return isUnsaid(declaration, value) ? [] : [[name, checkedValue(declaration, value)]];
  });
  return Object.fromEntries(said) as Partial<SubmittedOptions>;
}

/** proto3 has no other word for it where a field is not optional. */
function isUnsaid({ type }: OptionDeclaration, value: unknown): boolean {
  if (type === "flag") return value !== true;
  return value === undefined || (type === "seed" && value === "") || (type === "bytes" && value === 0n);
}

function checkedValue(declaration: OptionDeclaration, said: unknown): unknown {
  // As text, in which every number of 64 bits can be named in an error.
  if (typeof said === "bigint" || typeof said === "string") return parseOption(declaration, String(said));
  checkOption(declaration, said);
  return said;
}
