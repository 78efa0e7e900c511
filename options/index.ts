export type { OptionCommand, OptionDeclaration, OptionType } from "./declaration.ts";
export { type OptionCode, OptionError } from "./errors.ts";
export {
  defaultsOf,
  mergeOptions,
  type OptionName,
  type OptionValue,
  type OptionValues,
  optionsOf,
  optionValues,
  type SubmittedOptions,
} from "./merge-options.ts";
export { bytesText, checkOption, isOptionValue, maybeBytes, parseOption } from "./values.ts";
