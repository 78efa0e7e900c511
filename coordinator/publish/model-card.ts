import { methodDeclarations } from "../../merge/methods/index.ts";
import type { Plan, TensorTask } from "../../merge/work/index.ts";

const FENCE = /^(`{3,})yaml\r?\n/m;

/**
 * README.md: what the Hub shows. Models stand by label, so no path of the machine gets out but those of the recipe.
 * Nothing in it depends on the version of the tool: repair must make the same bytes later.
 */
export function modelCard(plan: Plan, recipeText: string): string {
  const labels = plan.inputs.map(({ label }) => label);
  const names = new Set(plan.tasks.flatMap((task) => (isMerged(task) ? [task.method] : [])));
  const methods = [...names].sort().map(methodLine);
  const fence = fenceFor(recipeText);
  const newline = recipeText.endsWith("\n") ? "" : "\n";
  return [
    "---",
    "base_model:",
    ...labels.map((label) => `- ${JSON.stringify(label)}`),
    `library_name: ${plan.adapter === undefined ? "transformers" : "peft"}`,
    "tags:",
    "- merge",
    "- deltaworks",
    "---",
    `# Merge of ${listed(labels)}`,
    "",
    "A merge of language models made by deltaworks.",
    "",
    "## Method",
    "",
    ...(methods.length === 0 ? ["Tensors are copied as they are."] : methods),
    "",
    "## Models",
    "",
    ...labels.map(
      (label, k) =>
        `- ${code(label)}${k === plan.definingInput ? ` (${plan.adapter === undefined ? "config and tokenizer" : "config"})` : ""}`,
    ),
    "",
    "## Recipe",
    "",
    `${fence}yaml`,
    `${recipeText}${newline}${fence}`,
    "",
  ].join("\n");
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
  if (labels.length <= 1) return labels.map(code).join("");
  if (labels.length > 5) return `${labels.length} models`;
  return `${labels.slice(0, -1).map(code).join(", ")} and ${code(labels.at(-1) ?? "")}`;
}

function code(text: string): string {
  return text.includes("`") ? `\`\` ${text} \`\`` : `\`${text}\``;
}

/** Longer than any run of backticks in the text. */
function fenceFor(text: string): string {
  const longest = Math.max(2, ...(text.match(/`+/g) ?? []).map((run) => run.length));
  return "`".repeat(longest + 1);
}
