export type { OptionCommand, OptionDeclaration, OptionType } from "./declaration.ts";
export { formatDuration, maybeDuration } from "./durations.ts";
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
export { coordinatorDefaults, workerDefaults } from "./process-defaults.ts";
export { bytesText, checkOption, checkOptions, isOptionValue, maybeBytes, parseOption } from "./values.ts";
