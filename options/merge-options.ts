import type { OptionCommand, OptionDeclaration } from "./declaration.ts";

/** Every option of a merge, by its name in code and in the records of jobs. In the order of help. */
export const mergeOptions = {
  seed: {
    flag: "--random-seed",
    value: "n",
    type: "seed",
    default: "0",
    about: "seed of random masks, 0 to 2^64 - 1",
    inPlan: true,
    commands: ["merge", "sweep", "plan", "submit"],
    field: "randomSeed",
  },
  sliceBytes: {
    flag: "--slice-size",
    value: "bytes",
    type: "bytes",
    default: 32 * 1024 * 1024,
    about: "most output bytes of a slice, the unit of work",
    inPlan: true,
    commands: ["merge", "sweep", "plan", "submit"],
    field: "sliceBytes",
  },
  shardBytes: {
    flag: "--shard-size",
    value: "bytes",
    type: "bytes",
    default: 5_000_000_000,
    about: "most bytes of an output file",
    inPlan: true,
    commands: ["merge", "sweep", "plan", "submit"],
    field: "shardBytes",
  },
  allowNonfinite: {
    flag: "--allow-nonfinite",
    type: "flag",
    default: false,
    about: "let NaN and infinity in inputs through",
    inPlan: true,
    commands: ["merge", "sweep", "plan", "submit"],
    field: "allowNonfinite",
  },
  allowUnknownKeys: {
    flag: "--allow-unknown-keys",
    type: "flag",
    default: false,
    about: "warn of unknown recipe keys instead of refusing them",
    inPlan: false,
    commands: ["merge", "sweep", "plan", "submit"],
    field: "allowUnknownKeys",
  },
  allowVocabularyMismatch: {
    flag: "--allow-vocabulary-mismatch",
    type: "flag",
    default: false,
    about: "merge models whose tokenizers give one id to different tokens",
    inPlan: false,
    commands: ["merge", "sweep", "plan", "submit"],
    field: "allowVocabularyMismatch",
  },
  cutEmbeddings: {
    flag: "--cut-embeddings",
    type: "flag",
    default: false,
    about: "cut embeddings of different sizes to the rows that all models have",
    inPlan: false,
    commands: ["merge", "sweep", "plan", "submit"],
    field: "cutEmbeddings",
    inEarlierRecords: true,
  },
  modelsRoot: {
    flag: "--models-root",
    value: "dir",
    type: "text",
    about: "look for models here first",
    inPlan: false,
    commands: ["merge", "sweep", "plan", "repair"],
  },
  threads: {
    flag: "--threads",
    value: "n",
    type: "count",
    maximum: 256,
    otherwise: "all cores, at most 16",
    about: "worker threads",
    inPlan: false,
    commands: ["merge", "sweep", "plan", "worker"],
  },
  memoryBytes: {
    flag: "--memory",
    value: "bytes",
    type: "bytes",
    otherwise: "1GiB, of a worker by its threads; at most half of the machine's",
    about: "memory for the whole process",
    inPlan: false,
    commands: ["merge", "sweep", "plan", "worker"],
  },
  bandwidthBytes: {
    flag: "--bandwidth",
    value: "bytes",
    type: "bytes",
    otherwise: "as fast as it comes",
    about:
      "most bytes a second of weights from buckets, servers and the Hub, and as many into buckets and to the Hub; threads have equal shares",
    inPlan: false,
    commands: ["merge", "sweep", "worker", "publish"],
  },
  cacheBytes: {
    flag: "--cache-bytes",
    value: "bytes",
    type: "bytes",
    otherwise: "none",
    about:
      "most bytes of tensors that several slices share, from buckets, servers and the Hub, that are kept on this machine's disk for their further rounds",
    inPlan: false,
    commands: ["merge", "plan"],
  },
  engine: {
    flag: "--engine",
    value: "name",
    type: "text",
    default: "wasm",
    about:
      "what computes; several with + between them share the threads; auto: all that this machine has but reference, which is plain TypeScript: slow, for checking",
    inPlan: false,
    commands: ["merge", "sweep", "worker"],
  },
  overwrite: {
    flag: "--overwrite",
    type: "flag",
    default: false,
    about: "replace the checkpoint that is where the output goes",
    inPlan: false,
    commands: ["merge", "sweep", "submit", "publish"],
    field: "overwrite",
  },
  restart: {
    flag: "--restart",
    type: "flag",
    default: false,
    about: "discard what an unfinished merge computed",
    inPlan: false,
    commands: ["merge", "sweep", "submit"],
    field: "restart",
  },
  takeOver: {
    flag: "--take-over",
    value: "holder",
    type: "text",
    about: "take the locks of this holder, as storage/locked names it: you are certain that it has ended",
    inPlan: false,
    commands: ["merge", "sweep", "coordinator", "repair", "publish", "clean"],
  },
  seal: {
    flag: "--seal",
    value: "how",
    type: "text",
    default: "read",
    about:
      "how an output is compared with what was computed: read, all of it back; checksums, of a bucket, by those of its store, without SHA256SUMS",
    inPlan: false,
    commands: ["merge", "sweep"],
  },
  hashInputs: {
    flag: "--hash-inputs",
    type: "flag",
    default: false,
    about: "put the SHA-256 of every input file into the manifest",
    inPlan: false,
    commands: ["merge", "sweep", "submit"],
    field: "hashInputs",
  },
  fillHubCache: {
    flag: "--fill-hub-cache",
    type: "flag",
    default: false,
    about: "put models of the Hub into its cache first, as hf download does, and read them there",
    inPlan: false,
    commands: ["merge", "sweep"],
  },
  auditShare: {
    flag: "--audit",
    value: "share",
    type: "share",
    default: 0,
    about: "share of slices, surveys and shards that a second worker checks, such as 1%",
    inPlan: false,
    commands: ["coordinator", "submit"],
    field: "auditShare",
  },
  keep: {
    flag: "--keep",
    value: "name",
    type: "texts",
    default: [],
    about: "of a file of several documents: write this one's result too, to OUT-NAME or, with NAME=DIR, to DIR",
    inPlan: false,
    commands: ["merge"],
  },
} as const satisfies Readonly<Record<string, OptionDeclaration>>;

type Table = typeof mergeOptions;
export type OptionName = keyof Table;

type ValueOfType<Type> = Type extends "flag"
  ? boolean
  : Type extends "bytes" | "count" | "share"
    ? number
    : Type extends "texts"
      ? readonly string[]
      : string;
export type OptionValue<Name extends OptionName = OptionName> = ValueOfType<Table[Name]["type"]>;

type NameIn<Command extends OptionCommand> = {
  [Name in OptionName]: Command extends Table[Name]["commands"][number] ? Name : never;
}[OptionName];
type WithDefault = { [Name in OptionName]: Table[Name] extends { default: unknown } ? Name : never }[OptionName];

/** What a command is told: undefined is only what has no default. */
export type OptionValues<Command extends OptionCommand> = {
  readonly [Name in NameIn<Command> & WithDefault]: OptionValue<Name>;
} & { readonly [Name in Exclude<NameIn<Command>, WithDefault>]?: OptionValue<Name> | undefined };

/** What a job may be submitted with. */
export type SubmittedOptions = OptionValues<"submit">;

/** The options that may be said in a command, in the order of the table. */
export function optionsOf<Command extends OptionCommand>(
  command: Command,
): readonly (readonly [name: NameIn<Command>, declaration: OptionDeclaration])[] {
  const all = Object.entries(mergeOptions) as [OptionName, OptionDeclaration][];
  return all.filter(([, { commands }]) => commands.includes(command)) as [NameIn<Command>, OptionDeclaration][];
}

/** An object with a value for each option of a command. */
export function optionValues<Command extends OptionCommand>(
  command: Command,
  valueFor: (name: NameIn<Command>, declaration: OptionDeclaration) => unknown,
): OptionValues<Command> {
  const entries = optionsOf(command).map(([name, declaration]) => [name, valueFor(name, declaration)]);
  return Object.fromEntries(entries) as OptionValues<Command>;
}

/** Of who says nothing. */
export function defaultsOf<Command extends OptionCommand>(command: Command): OptionValues<Command> {
  return optionValues(command, (_, declaration) => declaration.default);
}
