import { isFloatDtype, isOptional, isTaskHead, isTiedHead } from "../checkpoint/index.ts";
import type { MethodDeclaration } from "../merge/methods/index.ts";
import type { Findings } from "./findings.ts";
import type { Note } from "./note.ts";
import type { Participant, Present, TensorPlace } from "./participant.ts";

/** Says what some of the models have and others lack, or have in a dtype that cannot be merged. */
export class AbsentTensors {
  readonly #method: MethodDeclaration;
  readonly #findings: Findings;
  readonly #notes: Note[];
  /** Where it is not known, any tensor may be missing in a model. */
  readonly #knowsArchitecture: boolean;
  /** Whether that was told already, so that it need not be of each. */
  readonly #isTold: boolean;

  constructor(
    method: MethodDeclaration,
    findings: Findings,
    notes: Note[],
    { knowsArchitecture, isTold }: { readonly knowsArchitecture: boolean; readonly isTold: boolean },
  ) {
    this.#isTold = isTold;
    this.#method = method;
    this.#findings = findings;
    this.#notes = notes;
    this.#knowsArchitecture = knowsArchitecture;
  }

  areFloats(name: string, models: readonly Present[]): boolean {
    const integer = models.find(({ entry }) => !isFloatDtype(entry.dtype));
    if (integer === undefined) return true;
    const { input, entry, source } = integer;
    const message = `"${input.label}" holds ${name} as ${entry.dtype}, which cannot be merged with floating point`;
    const hint = "The model may be quantised; take it unquantised.";
    this.#findings.repeated("fault", input.label, "recipe/dtype-mismatch", source.place, message, hint);
    return false;
  }

  reportMissing(
    name: string,
    inputName: (participant: Participant) => string,
    { participants, defining }: TensorPlace,
    present: readonly Present[],
  ): void {
    if (present.length === participants.length) return;
    const have = new Set(present.map(({ source }) => source));
    for (const participant of participants) {
      if (have.has(participant.source)) continue;
      const { input, source } = participant;
      if (this.#isOptional(name, defining)) {
        const isKnown = isOptional(name, defining.input.checkpoint.config);
        const what = isKnown ? "this optional tensor" : "the tensor";
        this.#notes.push({ tensor: name, input: input.label, reason: `takes no part: it lacks ${what}` });
        if (isTrained(name, defining) || (!this.#isTold && !isKnown)) {
          const message = `"${input.label}" lacks ${inputName(participant)}: it takes no part in it`;
          const hint = isTiedHead(name)
            ? `"${input.label}" was saved without its head, or has none; the output has that of the others. Where it is its embedding, its config.json should say tie_word_embeddings: true.`
            : isKnown
              ? "A layer without a bias is one with a bias of 0; the output has the bias of the others, undiminished."
              : "A head for one task may be missing by right; all else is the same in models of one architecture.";
          this.#findings.repeated("warning", input.label, "recipe/missing-tensor", source.place, message, hint);
        }
        continue;
      }
      const message = `"${input.label}" lacks ${inputName(participant)}, which "${defining.input.label}" has`;
      const isHead = isTaskHead(name);
      const hint = isHead
        ? `Classes for other tasks ignore such a head: name "${input.label}" first (or as base_model), and the output goes without it.`
        : "Only models of one architecture can be merged.";
      const key = isHead ? `${input.label} head` : input.label;
      this.#findings.repeated("fault", key, "recipe/missing-tensor", source.place, message, hint);
    }
  }

  /** A required tensor that no model but the base has is the base's, whatever the method. */
  reportBaseAlone(
    name: string,
    inputName: (participant: Participant) => string,
    { participants }: TensorPlace,
    base: Participant,
  ): void {
    if (this.#isOptional(name, base) && !isTrained(name, base)) return;
    for (const participant of participants) {
      if (participant.source === base.source) continue;
      const { input, source } = participant;
      const message = `"${input.label}" lacks ${inputName(participant)}: it stays that of "${base.input.label}" alone`;
      const hint = "Only models of one architecture can be merged in full; get a model that was cut short again.";
      this.#findings.repeated("warning", input.label, "recipe/missing-tensor", source.place, message, hint);
    }
  }

  /** What predicts further tokens fits the layers that it was trained with: it is taken from one model, or from all, and from no others. */
  reportAhead(
    inputName: (participant: Participant) => string,
    { participants, defining }: TensorPlace,
    present: readonly Present[],
  ): void {
    const have = new Set(present.map(({ source }) => source));
    for (const participant of participants) {
      const { input, source } = participant;
      if (have.has(participant.source)) continue;
      const message = `"${input.label}" lacks ${inputName(participant)}, of layers that predict further tokens: it is copied from "${defining.input.label}"`;
      const hint =
        "It was trained with other layers than those of the output; it can be left out where nothing uses it.";
      this.#findings.repeated("warning", input.label, "recipe/missing-tensor", source.place, message, hint);
    }
  }

  /** Layers that predict further tokens, which the defining model lacks. */
  skipAhead(name: string, { input, source }: Participant, { input: defining }: Participant): void {
    this.#notes.push({ tensor: name, input: input.label, reason: `skipped: "${defining.label}" lacks it` });
    const message = `"${input.label}" has layers that predict further tokens (${name}), which "${defining.label}" lacks: skipped`;
    const hint = `The output's tensors are those of the base, or of the first model: put "${input.label}" first to keep them.`;
    this.#findings.repeated("warning", input.label, "recipe/tensor-skipped", source.place, message, hint);
  }

  /** Too few models have an optional tensor; that a required one is missing was reported. */
  leaveOut(name: string, found: number, { range, defining }: TensorPlace): void {
    if (!this.#isOptional(name, defining)) return;
    const { min } = this.#method.models;
    const reason = `left out: ${found} of the models ${found === 1 ? "has" : "have"} it, ${this.#method.name} needs ${min}`;
    this.#notes.push({ tensor: name, reason });
    const hint = "Give it to the models, or accept an output without it.";
    this.#findings.repeated("warning", "left out", "recipe/tensor-skipped", range.place, `${name} is ${reason}`, hint);
  }

  /** A tensor of another model that the defining one lacks. `isWeight`: one that the model's share is counted by. */
  skipExtra(name: string, other: Participant, defining: Participant, isWeight: boolean): void {
    this.#notes.push({ tensor: name, input: other.input.label, reason: `skipped: "${defining.input.label}" lacks it` });
    const message = `"${other.input.label}" holds ${name}, which "${defining.input.label}" lacks: skipped`;
    const hint = "The tensors of the base, or of the first model, are the output's.";
    const key = isWeight ? other.input.label : `${other.input.label} besides`;
    this.#findings.repeated("warning", key, "recipe/tensor-skipped", other.source.place, message, hint);
  }

  #isOptional(name: string, { input }: Participant): boolean {
    return !this.#knowsArchitecture || isOptional(name, input.checkpoint.config);
  }
}

/**
 * Biases: families come with and without, and models of one family are alike. Output heads: those that are an embedding once more stand
 * for it by now, and what is missing is missing.
 */
function isTrained(name: string, { input }: Participant): boolean {
  const entry = input.checkpoint.tensors.get(name);
  if (isTiedHead(name)) return entry !== undefined && isFloatDtype(entry.dtype);
  return /\.bias$/.test(name) && entry?.shape.length === 1 && isFloatDtype(entry.dtype);
}
