import type { MethodDeclaration } from "../merge/methods/index.ts";
import { documentsIn } from "./documents.ts";
import type { Fault, TextPlace } from "./errors.ts";
import { Findings } from "./findings.ts";
import { type MigrationRule, migrationRules, type PeerVersion } from "./migration-rules.ts";
import { parseRecipe } from "./parse-recipe.ts";
import type { ParseOptions } from "./schema.ts";
import { parseYaml } from "./yaml.ts";

/** What a difference is of: the user decides by it what to look at first. */
export type DifferenceKind =
  /** mergekit has a defect that is not followed here. */
  | "defect"
  /** mergekit reads the key and does nothing with it, or never reads it. */
  | "ignored-there"
  /** mergekit cannot run this. */
  | "fails-there"
  /** Refused here until it is mended. */
  | "refused-here"
  /** Both run it; numbers differ, and the line says by how much. */
  | "arithmetic"
  /** Both do the same; it may not be what was meant. */
  | "lint";

/** One line of a recipe that behaves otherwise here than in mergekit, or is worth a second look. */
export interface Difference extends TextPlace {
  readonly kind: DifferenceKind;
  /** What stands there: `gamma: 0`. */
  readonly subject: string;
  readonly here: string;
  readonly mergekit: string;
}

export interface Migration {
  /** In the order of the text; of one place, what must be mended first. */
  readonly differences: readonly Difference[];
  /** Whether the recipe's text is accepted here as it stands. */
  readonly accepted: boolean;
}

const urgency: readonly DifferenceKind[] = [
  "refused-here",
  "fails-there",
  "ignored-there",
  "defect",
  "lint",
  "arithmetic",
];

/** How a recipe of that release of mergekit's behaves here, from its text alone: no model is opened. */
export function migrationOf(
  text: string,
  fileName: string,
  methods: ReadonlyMap<string, MethodDeclaration>,
  from: PeerVersion,
): Migration {
  const strict: ParseOptions = { methods, allowUnknownKeys: false };
  const { faults, warnings } = parseRecipe(text, fileName, strict);
  const unread = new Findings(fileName);
  const roots = documentsIn(text).map((document) => parseYaml(document.text, unread));
  const found = [...faults.map(fromFault), ...warnings.map(fromWarning)];
  const byRule = roots.flatMap((root) =>
    root?.kind === "map" ? migrationRules.flatMap((rule: MigrationRule) => rule(root, methods, from)) : [],
  );
  const differences = [...found, ...byRule].sort(
    (a, b) => a.line - b.line || urgency.indexOf(a.kind) - urgency.indexOf(b.kind) || a.column - b.column,
  );
  const accepted = faults.length === 0 && byRule.every(({ kind }) => kind !== "refused-here");
  return { differences, accepted };
}

/** What mergekit does with what is a fault here. Codes that are not listed stop it too. */
const faultsThere: Partial<Record<Fault["code"], readonly [DifferenceKind, string]>> = {
  "recipe/unknown-key": ["ignored-there", "ignores the key without a word: the setting has no effect"],
  "recipe/refused-parameter": ["ignored-there", "ignores the key without a word: the setting has no effect"],
  "recipe/wrong-value": ["refused-here", "may run it, with a value that its documentation does not allow"],
  "recipe/conflicting-parameters": ["refused-here", "runs it; what comes out is not what the parameters say"],
  "recipe/not-yet": ["refused-here", "runs it"],
  "recipe/too-large": ["refused-here", "reads texts of any length"],
};

function fromFault({ code, message, hint, line, column }: Fault): Difference {
  const [kind, mergekit] = faultsThere[code] ?? [
    "refused-here",
    "stops with an error as well, later and with less said",
  ];
  return { kind, line, column, subject: message, here: `an error before anything is read. ${hint}`, mergekit };
}

const warningsThere: Partial<Record<Fault["code"], readonly [DifferenceKind, string]>> = {
  "recipe/no-effect": ["ignored-there", "reads it and does nothing with it, or stops"],
  "recipe/duplicate-key": ["lint", "takes the last of them, without a word"],
  "recipe/prunes-nothing": ["lint", "prunes nothing either, without a word: its default density is 1"],
  "recipe/opposed-weights": ["lint", "divides by the same sum, without a word"],
  "recipe/large-gamma": ["lint", "drops that share of the largest deltas, as here"],
  "recipe/base-listed": [
    "lint",
    "merges its zero delta, which changes sums of weights and nothing else (0.1.5 leaves it out)",
  ],
};

function fromWarning({ code, message, hint, line, column }: Fault): Difference {
  const [kind, mergekit] = warningsThere[code] ?? ["lint", "does the same without a word"];
  return { kind, line, column, subject: message, here: `a warning. ${hint}`, mergekit };
}
