import { isEmbeddingLike, isFloatDtype, splitLayer } from "../checkpoint/index.ts";
import { type PlanUsage, storedIn, type UnusedTensors } from "../merge/work/index.ts";
import type { Findings } from "./findings.ts";
import { type ModelEntry, type RecipeModel, sourceOfEntry } from "./model-entry.ts";
import type { LayerSource } from "./recipe.ts";
import { shapeText } from "./shapes.ts";

/** Below this share of a model the merge is not what the recipe says. */
export const LEAST_SHARE = 0.5;

interface Tally {
  used: number;
  zero: number;
  /** Which parameter it is that takes nothing. */
  zeroReason?: string;
  /** Those of which a condition of the recipe takes nothing, by the parameter: "weight 0". */
  readonly weightless: Map<string, { tensors: number; readonly example: string }>;
  readonly unused: Map<string, { tensors: number; elements: number; example: string }>;
}

interface Account {
  readonly input: RecipeModel;
  readonly source: LayerSource;
  readonly weights: Tally;
  readonly vocabulary: Tally;
  /** Whether anything that its adapter alters is used, or has the weight 0. */
  usesAdapter: boolean;
  /** By the name within a layer: in how many layers the tensor fits, and in how many it has another shape. */
  readonly layers: Map<string, { fitting: number; other: number; readonly shape: readonly number[] }>;
}

export const OTHER_SHAPE = "of another shape";

/** A source of the recipe, as far as the ledger goes. */
export interface Contributor {
  readonly input: RecipeModel;
  readonly source: LayerSource;
}

/** What becomes of every tensor that the recipe chooses from its models. Judged as a whole at the end: a model that hardly takes part is no merge. */
export class UsageLedger {
  readonly #accounts = new Map<string, Account>();

  /** A source of the recipe: whether or not anything of it is found, it has to contribute. */
  open({ input, source }: Contributor): Account {
    const known = this.#accounts.get(input.reference.text);
    if (known !== undefined) return known;
    const account = { input, source, weights: tally(), vocabulary: tally(), usesAdapter: false, layers: new Map() };
    this.#accounts.set(input.reference.text, account);
    return account;
  }

  /** `zeroReason`: which parameter of the recipe takes nothing of it, such as "weight 0". `isCondition`: one with conditions. */
  use(from: Contributor, name: string, entry: ModelEntry, zeroReason?: string, isCondition = false): void {
    const account = this.open(from);
    const tallied = tallyOf(account, name);
    if (zeroReason === undefined) tallied.used += entry.elementCount;
    else {
      tallied.zero += entry.elementCount;
      tallied.zeroReason ??= zeroReason;
      if (isCondition) {
        const counted = tallied.weightless.get(zeroReason) ?? { tensors: 0, example: name };
        tallied.weightless.set(zeroReason, { ...counted, tensors: counted.tensors + 1 });
      }
    }
    countLayer(account, name, entry, true);
    const { adapterInput, filesOf } = from.input;
    if (adapterInput === undefined || account.usesAdapter) return;
    for (const { input } of storedIn(sourceOfEntry(entry, filesOf))) account.usesAdapter ||= input === adapterInput;
  }

  /** `reason`: why it is not used, without names, so that equal reasons are told once. */
  leave(from: Contributor, name: string, entry: ModelEntry, reason: string): void {
    if (!isFloatDtype(entry.dtype) || entry.elementCount === 0) return;
    const account = this.open(from);
    if (reason === OTHER_SHAPE) countLayer(account, name, entry, false);
    const { unused } = tallyOf(account, name);
    const group = unused.get(reason) ?? { tensors: 0, elements: 0, example: name };
    unused.set(reason, { ...group, tensors: group.tensors + 1, elements: group.elements + entry.elementCount });
  }

  get usage(): PlanUsage[] {
    return [...this.#accounts.values()].map(({ input, weights, vocabulary }) => {
      const counted = chosenIn(weights) + weights.zero > 0 ? weights : vocabulary;
      const { used, zero, unused } = counted;
      const reasons = [...unused].map(([reason, group]): UnusedTensors => ({ reason, ...group }));
      const chosenElements = chosenIn(counted);
      return { model: input.label, chosenElements, usedElements: used, zeroElements: zero, unused: reasons };
    });
  }

  /** Says which models take part too little, or only in part. For a recipe that has no faults so far: they would be told twice. */
  judge(findings: Findings): void {
    const [first] = this.#accounts.values();
    const isNothing = this.usage.every(({ usedElements, zeroElements }) => usedElements === 0 && zeroElements > 0);
    if (first !== undefined && isNothing) {
      const message = "no model contributes anything: every tensor of the output would be zero";
      findings.fault("recipe/zero-weight", first.source.place, message, "Give at least one model a weight.");
      return;
    }
    for (const [k, account] of [...this.#accounts.values()].entries()) {
      const usage = this.usage[k];
      if (usage !== undefined) judgeOne(usage, account, findings);
      judgeWeightless(account, findings);
    }
  }
}

function judgeOne(
  { chosenElements, usedElements, zeroElements, unused, model }: PlanUsage,
  account: Account,
  findings: Findings,
): void {
  const { place } = account.source;
  const share = chosenElements === 0 ? 0 : usedElements / chosenElements;
  const misfit = [...account.layers].find(([, { fitting, other }]) => fitting === 0 && other > 1);
  if (misfit !== undefined) {
    const [name, { other, shape }] = misfit;
    const message = `"${model}" is a model of another size: ${name} has the shape ${shapeText(shape)} in all of its ${other} layers`;
    findings.fault("recipe/shape-mismatch", place, message, "Only models of one size can be merged.");
  } else if (chosenElements === 0 && zeroElements > 0) {
    const why = account.weights.zeroReason ?? account.vocabulary.zeroReason ?? "weight 0";
    const message = `"${model}" contributes nothing: ${why} wherever it takes part`;
    findings.warning("recipe/zero-weight", place, message, "Leave the model out, or give it a weight.");
  } else if (chosenElements === 0 && account.vocabulary.used + account.vocabulary.zero === 0) {
    const message = `"${model}" contributes nothing: the recipe takes no tensor of it`;
    findings.fault("recipe/unused-model", place, message, "Leave the model out, or take layers that it has.");
  } else if (share < LEAST_SHARE && chosenElements > 0) {
    const message = `only ${percentText(share)} of what the recipe takes of "${model}" is used: ${reasonsText(unused)}`;
    const hint = "Merge models of one architecture and size. deltaworks inspect shows what a model holds.";
    findings.fault("recipe/unused-model", place, message, hint);
  } else if (share < 1 && chosenElements > 0) {
    // What was told of its tensors one by one is told once.
    const isOne = unused.length === 1 && unused[0]?.tensors === 1;
    const isTold = (reason: string) => reason.endsWith("lacks") || (reason === OTHER_SHAPE && !isOne);
    if (unused.every(({ reason }) => isTold(reason))) findings.withdraw("warning", model, "recipe/tensor-skipped");
    else if (isOne) return;
    const message = `${percentText(share)} of what the recipe takes of "${model}" is used: ${reasonsText(unused)}`;
    findings.warning("recipe/partly-used", place, message, "The rest of the output is made without this model.");
  }
  if (account.input.adapterInput !== undefined && !account.usesAdapter && usedElements > 0) {
    const message = `nothing that the recipe takes of "${model}" is altered by its adapter`;
    findings.fault("recipe/unused-model", place, message, "Take layers that the adapter adapts, or leave it out.");
  }
}

/** A weight or density of 0 for some tensors of a model, by a condition; at an end of a gradient models mostly take turns. */
function judgeWeightless({ input, source, weights, vocabulary }: Account, findings: Findings): void {
  if (weights.used + vocabulary.used === 0) return;
  for (const reason of new Set([...weights.weightless.keys(), ...vocabulary.weightless.keys()])) {
    const found = [weights, vocabulary].flatMap(({ weightless }) => weightless.get(reason) ?? []);
    const tensors = found.reduce((sum, some) => sum + some.tensors, 0);
    const which = `${tensors} ${tensors === 1 ? "tensor" : "tensors"} (${tensors === 1 ? "" : "the first "}${found[0]?.example})`;
    const message = `"${input.label}" has the ${reason} for ${which}, and contributes nothing there`;
    findings.warning("recipe/zero-weight", source.place, message, "That is right where it is meant so.");
  }
}

/** "62.5 %": never rounded up to a whole. */
export function percentText(share: number): string {
  return `${share === 1 ? "100" : (Math.floor(share * 1000) / 10).toFixed(1)} %`;
}

function reasonsText(unused: readonly UnusedTensors[]): string {
  const text = ({ reason, tensors, example }: UnusedTensors) =>
    `${tensors} ${tensors === 1 ? "tensor" : "tensors"} ${reason} (${tensors === 1 ? "" : "the first "}${example})`;
  return unused.map(text).join("; ");
}

function countLayer(account: Account, name: string, { shape }: ModelEntry, fits: boolean): void {
  const suffix = splitLayer(name)?.suffix;
  if (suffix === undefined) return;
  const counted = account.layers.get(suffix) ?? { fitting: 0, other: 0, shape };
  account.layers.set(suffix, counted);
  if (fits) counted.fitting++;
  else counted.other++;
}

function tally(): Tally {
  return { used: 0, zero: 0, weightless: new Map(), unused: new Map() };
}

function tallyOf(account: Account, name: string): Tally {
  return isEmbeddingLike(name) ? account.vocabulary : account.weights;
}

function chosenIn({ used, unused }: Tally): number {
  return [...unused.values()].reduce((sum, { elements }) => sum + elements, used);
}
