import type { Checkpoint, ModelOrigin } from "../../checkpoint/index.ts";
import { methodDeclarations } from "../../merge/methods/index.ts";
import type { Plan, TensorTask } from "../../merge/work/index.ts";

const FENCE = /^(`{3,})yaml\r?\n/m;

export interface CardSources {
  readonly plan: Plan;
  readonly recipeText: string;
  /** Of the defining input. */
  readonly config: Checkpoint["config"];
  /** Per input of the plan, what its own card says. */
  readonly origins: readonly (ModelOrigin | undefined)[];
  /** By input of the plan, what the output has of it besides tensors ("config", "tokenizer"). */
  readonly given: ReadonlyMap<number, readonly string[]>;
}

/**
 * README.md: what the Hub shows. Models stand by their names on the Hub or by label, so no path of the machine gets out but those of
 * the recipe. Nothing in it depends on the version of the tool: repair must make the same bytes later.
 */
export function modelCard({ plan, recipeText, config, origins, given }: CardSources): string {
  const parents = plan.inputs.map(({ label }, k) => ({ name: origins[k]?.hubId ?? label, ...origins[k] }));
  const names = new Set(plan.tasks.flatMap((task) => (isMerged(task) ? [task.method] : [])));
  const methods = [...names].sort().map(methodLine);
  const fence = fenceFor(recipeText);
  const newline = recipeText.endsWith("\n") ? "" : "\n";
  return [
    "---",
    ...frontMatter(parents, plan.adapter === undefined ? undefined : config),
    "---",
    `# Merge of ${listed(parents.map(({ name }) => name))}`,
    "",
    "A merge of language models made by deltaworks.",
    "",
    "## Method",
    "",
    ...(methods.length === 0 ? ["Tensors are copied as they are."] : methods),
    "",
    "## Models",
    "",
    ...parents.map((parent, k) => `- ${parentText(parent, given.get(k) ?? [])}`),
    "",
    "## How to load it",
    "",
    "```python",
    ...loadingLines(config, plan.adapter !== undefined, [...given.values()].flat().includes("tokenizer")),
    "```",
    "",
    "## Recipe",
    "",
    `${fence}yaml`,
    `${recipeText}${newline}${fence}`,
    "",
  ].join("\n");
}

interface Parent extends ModelOrigin {
  readonly name: string;
}

/** https://huggingface.co/docs/hub/model-cards: base_model, base_model_relation, library_name, license, tags. */
function frontMatter(parents: readonly Parent[], adapterConfig: Checkpoint["config"]): string[] {
  const ofAdapters = adapterConfig?.base_model_name_or_path;
  const named = typeof ofAdapters === "string" && isHubId(ofAdapters) ? [ofAdapters] : parents.map(({ name }) => name);
  // The Hub takes no card that names something else; the text lists every model.
  const bases = named.filter((name) => mayBeHubId(name));
  const isAdapter = adapterConfig !== undefined;
  return [
    ...(bases.length === 0
      ? []
      : [
          "base_model:",
          ...bases.map((base) => `- ${JSON.stringify(base)}`),
          `base_model_relation: ${isAdapter ? "adapter" : "merge"}`,
        ]),
    `library_name: ${isAdapter ? "peft" : "transformers"}`,
    ...licenseLines(parents),
    "tags:",
    "- merge",
    "- deltaworks",
  ];
}

/** Only where all parents name the same licence: what holds for a mixture, nobody can say here. */
function licenseLines(parents: readonly Parent[]): string[] {
  const [first] = parents;
  if (first?.license === undefined) return [];
  const keys = ["license", "licenseName", "licenseLink"] as const;
  if (!parents.every((parent) => keys.every((key) => parent[key] === first[key]))) return [];
  const names = { license: "license", licenseName: "license_name", licenseLink: "license_link" };
  return keys.flatMap((key) => (first[key] === undefined ? [] : [`${names[key]}: ${JSON.stringify(first[key])}`]));
}

function parentText({ name, license, licenseName, baseModels }: Parent, given: readonly string[]): string {
  const facts = [
    ...(given.length === 0 ? [] : [inWords(given)]),
    ...(license === undefined ? [] : [`licence ${code(license === "other" ? (licenseName ?? license) : license)}`]),
    ...(baseModels === undefined ? [] : [`itself made from ${baseModels.map(code).join(", ")}`]),
  ];
  return `${code(name)}${facts.length > 0 ? ` (${facts.join("; ")})` : ""}`;
}

function isHubId(text: string): boolean {
  return /^[\w.-]+\/[\w.-]+$/.test(text) && !text.startsWith(".");
}

/** With an owner, or as the first models on the Hub were called. */
function mayBeHubId(text: string): boolean {
  return isHubId(text) || (/^\w[\w.-]*$/.test(text) && !/\.(?:safetensors|ya?ml)$/.test(text));
}

const FOLDER = '"path/to/this/folder"';

/** By the end of what the config calls its architecture; AutoModel loads what is left. */
const autoClasses: readonly (readonly [RegExp, string])[] = [
  [/ForCausalLM$|LMHeadModel$/, "AutoModelForCausalLM"],
  [/MaskedLM$/, "AutoModelForMaskedLM"],
  [/SequenceClassification$/, "AutoModelForSequenceClassification"],
  [/TokenClassification$/, "AutoModelForTokenClassification"],
  [/QuestionAnswering$/, "AutoModelForQuestionAnswering"],
];

function loadingLines(config: Checkpoint["config"], isAdapter: boolean, hasTokenizer: boolean): string[] {
  if (isAdapter) {
    const base = config?.base_model_name_or_path;
    const name =
      typeof base === "string" && isHubId(base) ? JSON.stringify(base) : '"the model that the adapters were made for"';
    return [
      "from peft import PeftModel",
      "from transformers import AutoModelForCausalLM",
      "",
      `model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(${name}), ${FOLDER})`,
    ];
  }
  const [architecture] = Array.isArray(config?.architectures) ? config.architectures : [];
  const auto = autoClassOf(String(architecture ?? ""), config ?? {});
  const isSeen = auto === "AutoModelForImageTextToText";
  const readers = isSeen ? ["AutoProcessor"] : hasTokenizer ? ["AutoTokenizer"] : [];
  // Its own code runs then; the card of who wrote it tells what it does.
  const remote = Object.hasOwn(config ?? {}, "auto_map") ? ", trust_remote_code=True" : "";
  return [
    `from transformers import ${[auto, ...readers].sort().join(", ")}`,
    "",
    `model = ${auto}.from_pretrained(${FOLDER}, dtype="auto"${remote})`,
    ...readers.map((reader) => `${isSeen ? "processor" : "tokenizer"} = ${reader}.from_pretrained(${FOLDER}${remote})`),
  ];
}

function autoClassOf(architecture: string, config: Readonly<Record<string, unknown>>): string {
  const found = autoClasses.find(([pattern]) => pattern.test(architecture))?.[1];
  if (found !== undefined) return found;
  if (!architecture.endsWith("ForConditionalGeneration")) return "AutoModel";
  return Object.hasOwn(config, "vision_config") ? "AutoModelForImageTextToText" : "AutoModelForSeq2SeqLM";
}

/**
 * The recipe as a card holds it, or undefined. The text may have ended without the newline that the card puts before
 * its closing fence; which of the two it was, its hash tells.
 */
export function recipeInCard(card: string): readonly [string, string] | undefined {
  const opening = FENCE.exec(card);
  if (opening === null) return undefined;
  const [line, fence = ""] = opening;
  const start = opening.index + line.length;
  const end = card.lastIndexOf(`\n${fence}`);
  // An empty recipe cannot be; the newline before the fence belongs to the text.
  return end < start ? undefined : [card.slice(start, end + 1), card.slice(start, end)];
}

function isMerged({ kind, base }: TensorTask): boolean {
  if (base?.kind === "columns" || base?.kind === "product") return true;
  return kind === "merge" || (base?.kind === "merged" && base.task.kind === "merge");
}

function methodLine(name: string): string {
  const method = methodDeclarations().get(name);
  if (method === undefined) return `- ${code(name)}`;
  const arxiv = /^arXiv:(\S+)$/.exec(method.paper ?? "")?.[1];
  const paper = arxiv === undefined ? method.paper : `[${method.paper}](https://arxiv.org/abs/${arxiv})`;
  return `- ${code(name)}: ${method.title}${paper === undefined ? "" : `, ${paper}`}`;
}

function listed(labels: readonly string[]): string {
  return labels.length > 5 ? `${labels.length} models` : inWords(labels.map(code));
}

function inWords(things: readonly string[]): string {
  const [last = "", ...before] = [...things].reverse();
  return before.length === 0 ? last : `${before.reverse().join(", ")} and ${last}`;
}

function code(text: string): string {
  return text.includes("`") ? `\`\` ${text} \`\`` : `\`${text}\``;
}

/** Longer than any run of backticks in the text. */
function fenceFor(text: string): string {
  const longest = Math.max(2, ...(text.match(/`+/g) ?? []).map((run) => run.length));
  return "`".repeat(longest + 1);
}
