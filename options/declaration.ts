/** Where an option may be said: commands; what `submit` says stands in the submission, and in the job's record. */
export type OptionCommand =
  | "merge"
  | "sweep"
  | "plan"
  | "submit"
  | "coordinator"
  | "worker"
  | "repair"
  | "publish"
  | "clean";

/**
 * What a value is. `seed`: 64 bits as decimal text. `bytes`: a whole number of them, 1 or more; as text with a unit. `count`: a whole
 * number, 1 or more. `share`: 0 to 1; as text also with %. `flag`: said or not. `text`, `texts`: whatever who uses it makes of it.
 */
export type OptionType = "seed" | "bytes" | "count" | "share" | "flag" | "text" | "texts";

/** An option of a merge, as plain data: command line, submissions, records and docs/options.md are made of it. */
export interface OptionDeclaration {
  readonly flag: `--${string}`;
  /** What stands for the value in help; absent for a flag. */
  readonly value?: string;
  readonly type: OptionType;
  /** Most, of a count. */
  readonly maximum?: number;
  /** Where nobody says. */
  readonly default?: string | number | boolean | readonly string[];
  /** What holds without a `default`, for people. */
  readonly otherwise?: string;
  /** What it does, for help and docs. */
  readonly about: string;
  /** Whether it belongs to the plan: a merge that was begun goes on with the same value only. */
  readonly inPlan: boolean;
  readonly commands: readonly OptionCommand[];
  /** Of what may be submitted: its field in deltaworks.v1.MergeOptions. */
  readonly field?: string;
  /** Of what may be submitted: what records mean that earlier versions wrote without it. Absent: every record has it. */
  readonly inEarlierRecords?: boolean;
}
