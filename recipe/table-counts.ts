import { isEmbeddingLike } from "../checkpoint/index.ts";
import type { TensorTask } from "../merge/work/index.ts";
import type { ConfigValue } from "./config-value.ts";
import type { TextPlace } from "./errors.ts";
import type { Findings } from "./findings.ts";
import type { RecipeInput } from "./recipe.ts";

type Config = Readonly<Record<string, unknown>>;
type Table = Pick<TensorTask, "name" | "shape">;

/** Tables that lie beside an embedding of tokens, and where configs count their rows. */
interface CountedTable {
  readonly table: RegExp;
  readonly key: RegExp;
  /** Kinds of models that have more rows than they count, and how many. */
  readonly beyond: ReadonlyMap<unknown, number>;
}

/** Families whose positions begin at 2. From the classes of transformers 5.24 (docs/fidelity.md). */
const fromTwo = [
  "bart",
  "biogpt",
  "fsmt",
  "mbart",
  "mra",
  "mvp",
  "nystromformer",
  "opt",
  "plbart",
  "pp_formulanet",
  "trocr",
  "yoso",
];

const countedTables: readonly CountedTable[] = [
  {
    table: /^(?:wpe|positions_embed|position_embeddings?|embed_positions)$/,
    key: /^(?:n_positions|max_(?:encoder_|decoder_)?position_embeddings|max_(?:source|target)_positions)$/,
    beyond: new Map(fromTwo.map((type) => [type, 2])),
  },
  { table: /^token_type_embeddings$/, key: /^(?:modality_)?type_vocab_size$/, beyond: new Map() },
];

interface Count {
  readonly path: readonly string[];
  readonly value: number;
  readonly beyond: number;
}

/** A table of the model, none of whose counts says how many rows it has. */
interface Contradiction {
  readonly table: Table;
  readonly counts: readonly Count[];
  /** What they are to say; none where it cannot be said which of them is meant. */
  readonly values: readonly ConfigValue[];
}

/**
 * Positions and kinds of tokens: what the output's config counts as its tables have them, where the model that gives the config counts
 * otherwise, with a warning; and a warning of classes that are others than the rows of a classifier.
 */
export function tableCounts(
  { label, checkpoint }: RecipeInput,
  tasks: readonly Table[],
  place: TextPlace,
  findings: Findings,
): readonly ConfigValue[] {
  const { config = {}, tensors } = checkpoint;
  const code = "recipe/table-count";
  for (const { table, counts, values } of contradictions(config, [...tensors.values()])) {
    const counted = counts.map(({ path, value }) => `${path.join(".")} ${value}`).join(", ");
    const outcome = values.map(({ path, value }) => `${path.join(".")} ${value}`).join(", ");
    const message = `the config of "${label}" says ${counted}, and ${table.name} has ${table.shape[0]} rows: the output's config says ${outcome === "" ? "the same" : outcome}`;
    findings.warning(code, place, message, outcome === "" ? REFUSED : REFUSED_AS_IT_STANDS);
  }
  const classes = classCount(config);
  const head = classes && [...tensors.values()].find(({ name, shape }) => isClassifier(name, shape));
  if (head && head.shape[0] !== classes.count) {
    const message = `the config of "${label}" (${classes.architecture}) names ${classes.count} classes${classes.isAssumed ? ", as it has no id2label," : ""} and ${head.name} has ${head.shape[0]} rows: the output's config says the same`;
    findings.warning(code, place, message, REFUSED);
  }
  const values = contradictions(config, tasks).flatMap((one) => one.values);
  return [...new Map(values.map((value) => [value.path.join("."), value])).values()];
}

const REFUSED =
  "Programs that load models by their config refuse this one, and the output: correct the model before it is merged.";
const REFUSED_AS_IT_STANDS = "Programs that load models by their config refuse this one as it stands.";

function contradictions(config: Config, tables: readonly Table[]): Contradiction[] {
  const besideTokens = new Set(tables.filter(({ name }) => isEmbeddingLike(name)).map(({ name }) => holderOf(name)));
  return countedTables.flatMap((kind) => {
    const counts = countsIn(config, kind, []);
    const own = tables.filter(({ name, shape }) => {
      const holder = holderOf(name);
      const isOfText = besideTokens.has(holder) || /(?:^|\.)(?:encoder|decoder)$/.test(holder);
      return shape.length === 2 && isOfText && kind.table.test(name.slice(holder.length).replace(/^\.|\.weight$/g, ""));
    });
    const fitting = ({ shape: [rows = 0] }: Table) => counts.filter((count) => fits(config, count, rows));
    const taken = new Set(own.flatMap(fitting));
    const free = counts.filter((count) => !taken.has(count));
    const wrong = free.length === 0 ? [] : own.filter((table) => fitting(table).length === 0);
    const isClear =
      config.auto_map === undefined &&
      new Set(free.map(({ value }) => value)).size === 1 &&
      new Set(wrong.map(({ shape: [rows] }) => rows)).size === 1;
    return wrong.map((table): Contradiction => {
      const [rows = 0] = table.shape;
      const values = isClear ? free.map(({ path, beyond }) => ({ path, value: rows - beyond })) : [];
      return { table, counts: free, values: values.every(({ value }) => value > 0) ? values : [] };
    });
  });
}

/** Code of its own may begin its positions where it likes. */
function fits(config: Config, { value, beyond }: Count, rows: number): boolean {
  const isOwnCode = config.auto_map !== undefined;
  return rows === value + beyond || (isOwnCode && rows > value && rows - value <= 2);
}

/** Every count under such a key, in whichever part of the config. `type`: of the config as a whole. */
function countsIn(config: Config, kind: CountedTable, path: readonly string[], type = config.model_type): Count[] {
  const beyond = kind.beyond.get(config.model_type) ?? kind.beyond.get(type) ?? 0;
  return Object.entries(config).flatMap(([key, value]): Count[] => {
    const at = [...path, key];
    if (typeof value === "object" && value !== null && !Array.isArray(value))
      return countsIn(value as Config, kind, at, type);
    return typeof value === "number" && kind.key.test(key) ? [{ path: at, value, beyond }] : [];
  });
}

/** `bert.embeddings` of `bert.embeddings.position_embeddings.weight` */
function holderOf(name: string): string {
  return name.split(".").slice(0, -2).join(".");
}

const classifying = /For(?:Text|Sequence|Token|Image|Audio|AudioFrame|Video)(?:Encoding)?Classification$/;

/** How many classes a model of a class of transformers tells apart by its config; 2 where it does not say. */
function classCount(
  config: Config,
): { readonly architecture: string; readonly count: number; readonly isAssumed: boolean } | undefined {
  const [architecture] = Array.isArray(config.architectures) ? (config.architectures as readonly unknown[]) : [];
  if (typeof architecture !== "string" || !classifying.test(architecture) || config.auto_map !== undefined)
    return undefined;
  const { id2label: names, num_labels: number } = config;
  if (typeof names === "object" && names !== null)
    return { architecture, count: Object.keys(names).length, isAssumed: false };
  return { architecture, count: typeof number === "number" ? number : 2, isAssumed: typeof number !== "number" };
}

/** Outputs of a classifier, a row for each class. */
function isClassifier(name: string, shape: readonly number[]): boolean {
  return (
    shape.length === 2 && /^(?:classifier|score|classification_head|logits_proj)(?:\.out_proj)?\.weight$/.test(name)
  );
}
