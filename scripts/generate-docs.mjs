// Writes docs/methods.md from the methods' declarations (dist/, so build first) and docs/methods-notes.md, which is written by hand;
// docs/errors.md from the codes that each room declares in its errors.ts, and docs/options.md from the table in options/.
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/**
 * The method reference as Markdown.
 * @param {Iterable<import("../merge/methods/index.ts").MethodDeclaration>} declarations
 * @param {string} notes text of docs/methods-notes.md
 */
export function methodsPage(declarations, notes) {
  // The order in which modules list their exports differs between loaders.
  const methods = [...declarations].sort((a, b) => (a.name < b.name ? -1 : 1));
  const list = methods.map(({ name, title, paper }) => [
    `[\`${name}\`](#${name})`,
    title,
    paper === undefined ? "" : paperLink(paper),
  ]);
  return [
    "<!-- Written by `npm run docs` from merge/methods/ and docs/methods-notes.md. Change those, not this file. -->",
    "# Merge methods",
    introduction,
    table(["method", "what it does", "paper"], list),
    ...methods.map(methodSection),
    notes.trim(),
    "",
  ].join("\n\n");
}

const introduction = `\`b\` is the tensor of the base model, \`xᵢ\` that of the i-th model, \`dᵢ = xᵢ − b\` its delta, \`wᵢ\` its weight, \`N\` the
number of models, \`E\` the number of elements, \`C\` the length of a row (the last dimension), \`λ\` the parameter \`lambda\`,
\`sᵢ\` the factor that \`rescale\` gives. Inputs are widened to float32, elementwise arithmetic is float32, sums over a tensor
are float64 in an order that does not depend on how the tensor was cut, and the result is rounded once to the output's dtype.

A parameter is either *global* (one value per output tensor) or *per model* (one value per model and tensor). Either may be
a number, a gradient over the layers or a list of conditions: see [recipe.md](recipe.md). The same text is in the tool:
\`deltaworks methods ties\`.`;

function methodSection(method) {
  const { name, title, documentation, formula, paper, parameters, refused, deviations } = method;
  const names = Object.entries(parameters);
  const refusals = Object.entries(refused);
  return [
    `## ${name}`,
    `${title}. ${documentation}`,
    codeBlock(formula),
    [
      ...(paper === undefined ? [] : [`- Paper: ${paperLink(paper)}`]),
      `- Base: ${baseText(method)}`,
      `- Models: ${modelsText(method)}`,
      `- Shapes that differ: ${shapeText(method)}`,
    ].join("\n"),
    names.length === 0
      ? "No parameters."
      : table(["parameter", "scope", "value", "default", "meaning"], names.map(parameterRow)),
    ...(refusals.length === 0
      ? []
      : [["Refused:", ...refusals.map(([key, why]) => `- \`${key}\`: ${why}`)].join("\n")]),
    deviations.length === 0
      ? "No known difference from mergekit or the paper."
      : ["Where others differ:", "", ...deviations.map((deviation) => `- ${deviation}`)].join("\n"),
  ].join("\n\n");
}

function parameterRow([name, { scope, type, required, default: preset, range, words, documentation }]) {
  const kind = words === undefined ? type : words.map((word) => `\`${word}\``).join(", ");
  const limits = range === undefined ? "" : `, ${range.min ?? "−∞"} to ${range.max ?? "∞"}`;
  const rule = required === true ? "**required**" : preset === undefined ? "unset" : `\`${preset}\``;
  return [`\`${name}\``, scope === "tensor" ? "per model" : "global", `${kind}${limits}`, rule, documentation];
}

function baseText({ base, needsBase, appendsBase }) {
  if (base === "apart") return "`base_model` is required; deltas are taken from it";
  if (base === "optional") return "`base_model` may be given; deltas are taken from it then";
  const rule = needsBase
    ? "`base_model` is required and is an input like the others"
    : "none needed; a listed one is an input like the others";
  return appendsBase ? `${rule}; it is added to the models if it is not among them` : rule;
}

function modelsText({ models: { min, max }, base }) {
  const range = min === max ? `exactly ${min}` : Number.isFinite(max) ? `${min} to ${max}` : `${min} or more`;
  return base === "listed" ? range : `${range}, besides the base`;
}

function shapeText({ shapeMismatch }) {
  const rest =
    shapeMismatch === "skip"
      ? "a model whose other tensor does not fit is left out of that tensor, with a warning"
      : "anything else is an error";
  return `vocabularies of different sizes are an error without a tokenizer key or \`--cut-embeddings\`; ${rest}`;
}

function paperLink(paper) {
  const [, id] = /^arXiv:(\d+\.\d+)$/.exec(paper) ?? [];
  return id === undefined ? paper : `[${paper}](https://arxiv.org/abs/${id})`;
}

function codeBlock(text) {
  return `\`\`\`text\n${text.replaceAll(/;\s+/g, "\n")}\n\`\`\``;
}

function table(head, rows) {
  const line = (cells) => `| ${cells.map((cell) => String(cell).replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

/** The sections of docs/errors.md: a room, what its part of the page is about, and what is said before the table. */
const errorRooms = [
  ["storage", "where bytes live", "StorageError."],
  ["worker", "a worker and what it is told"],
  ["trust", "who is who between machines", "TrustError. Messages never hold a key or a token."],
  ["checkpoint", "models on disk", "CheckpointError."],
  [
    "recipe",
    "what to merge",
    "RecipeError, all faults at once; the last seven are warnings, and so are `recipe/layer-facts`, `recipe/token-conflict`, `recipe/duplicate-key`, `recipe/no-effect` and, with `--allow-unknown-keys`, `recipe/unknown-key`.",
  ],
  ["options", "what shapes a merge", "OptionError."],
  ["merge/methods", "arithmetic", "MethodError."],
  ["merge/work", "the data of a merge", "MergeError."],
  ["merge/engines", "what computes", "EngineError."],
  ["plan", "", "PlanError."],
  ["coordinator/journal", "the facts of a job", "JournalError."],
  ["coordinator/nats", "the connection to NATS", "NatsError."],
  ["coordinator/queue", "jobs that wait", "QueueError."],
  ["coordinator/job", "running a job", "JobError, or the cause of a failed job."],
  ["output", "the output", "PublishError."],
  ["wire", "what one end of a connection made of what the other sent"],
  ["coordinator/link", "what the coordinator has against a call of a worker"],
  ["service", "what the long-lived coordinator refuses"],
  ["cli", "", "no class."],
];

/**
 * The page of error codes as Markdown.
 * @param {(file: string) => Promise<Record<string, unknown>>} load imports a file of the repository, named without its ending
 */
export async function errorsPage(load) {
  const sections = errorRooms.map(async ([room, about, before]) => [
    `## \`${room}/\`${about === "" ? "" : `: ${about}`}`,
    ...(before === undefined ? [] : [before]),
    table(["code", "what it means", "what to do"], Object.entries(codesIn(await load(`${room}/errors`))).map(errorRow)),
  ]);
  return [
    "<!-- Written by `npm run docs` from the errors.ts of each room. Change those, not this file. -->",
    "# Errors",
    errorsIntroduction,
    ...(await Promise.all(sections)).flat(),
    "",
  ].join("\n\n");
}

/** What an errors.ts declares. */
function codesIn(exports) {
  return Object.entries(exports).find(([name]) => name.endsWith("Codes"))[1];
}

const errorsIntroduction = `Every error has a code, a message with names and numbers, and a hint. The part of the code before the \`/\` is the room it comes
from; \`method/\`, \`engine/\` and \`merge/\` are \`merge/methods/\`, \`merge/engines/\` and \`merge/work/\`; \`journal/\`, \`nats/\`, \`queue/\` and
\`link/\` are below \`coordinator/\`, and \`coordinator/\` is its \`job/\`; \`publish/\` is \`output/\`. The command line prints

\`\`\`text
error merge/nonfinite  math-7b: model.layers.7.mlp.up_proj.weight holds NaN at element 193842
  hint  Check that model, or let such values through with --allow-nonfinite. Finished slices are kept.
\`\`\`

and ends with an exit code from [guide.md](guide.md#exit-codes). The same words stand in the \`errors.ts\` of the room.`;

function errorRow([code, { means, advice }]) {
  return [`\`${code}\``, means, advice];
}

/**
 * The options of a merge as Markdown.
 * @param {Readonly<Record<string, import("../options/index.ts").OptionDeclaration>>} options
 * @param {(bytes: number) => string} bytesText
 */
export function optionsPage(options, bytesText) {
  const rows = Object.values(options).map(({ flag, value, about, inPlan, commands, field, ...of }) => [
    `\`${flag}${value === undefined ? "" : ` <${value}>`}\``,
    defaultOfOption(of, bytesText),
    about,
    inPlan ? "yes" : "",
    commands.join(", "),
    field === undefined ? "" : `\`${snakeCase(field)}\``,
  ]);
  return [
    "<!-- Written by `npm run docs` from options/. Change that, not this file. -->",
    "# Options of a merge",
    optionsIntroduction,
    table(["option", "default", "what it does", "in the plan", "commands", "field"], rows),
    "",
  ].join("\n\n");
}

const optionsIntroduction = `What shapes a merge, and what it may use of a machine; [guide.md](guide.md) and [operations.md](operations.md) say when which
matters, and what else the commands take. *In the plan*: a merge that was begun goes on with the same value only. *Field*: of
\`deltaworks.v1.MergeOptions\`, with which a program submits a job; what it leaves out is the coordinator's to say, and so is what
\`submit\` is not told. A number of bytes may be written \`512MB\` or \`1.5GiB\`, a share \`1%\` or \`0.01\`; a value that cannot be is
refused with \`options/value\`, whoever gives it.`;

function defaultOfOption({ type, default: preset, otherwise }, bytesText) {
  if (otherwise !== undefined) return otherwise;
  if (preset === undefined || type === "texts") return "none";
  if (type === "flag") return "off";
  return type === "bytes" ? bytesText(preset) : `\`${preset}\``;
}

function snakeCase(name) {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { methodDeclarations } = await import("../dist/merge/methods/index.js");
  const notes = readFileSync(join(root, "docs", "methods-notes.md"), "utf8");
  writeFileSync(join(root, "docs", "methods.md"), methodsPage(methodDeclarations().values(), notes));
  writeFileSync(join(root, "docs", "errors.md"), await errorsPage((file) => import(`../dist/${file}.js`)));
  const { bytesText, mergeOptions } = await import("../dist/options/index.js");
  writeFileSync(join(root, "docs", "options.md"), optionsPage(mergeOptions, bytesText));
}
