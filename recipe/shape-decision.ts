import type { MethodDeclaration } from "../merge/methods/index.ts";
import type { Findings } from "./findings.ts";
import type { Note } from "./note.ts";
import type { Present } from "./participant.ts";
import { agreeOrFail, agreeWithBase, sameShape, shapeText } from "./shapes.ts";
import type { VocabularyCheck } from "./vocabulary-check.ts";

/** Decides what shape a tensor of the output has, and which models fit it; says what was cut, left out or does not fit. */
export class ShapeDecision {
  readonly #method: MethodDeclaration;
  readonly #findings: Findings;
  readonly #notes: Note[];
  readonly #vocabularies: VocabularyCheck;

  constructor(method: MethodDeclaration, findings: Findings, notes: Note[], vocabularies: VocabularyCheck) {
    this.#vocabularies = vocabularies;
    this.#method = method;
    this.#findings = findings;
    this.#notes = notes;
  }

  /** `base`: where the method keeps it apart. Undefined where the shapes do not go together, which is reported. */
  decide(
    name: string,
    base: Present | undefined,
    models: readonly Present[],
  ): { shape: readonly number[]; models: readonly Present[] } | undefined {
    const all = base === undefined ? models : [base, ...models];
    const shapes = models.map(({ entry }) => entry.shape);
    const agreement =
      this.#method.shapeMismatch === "skip" && base !== undefined
        ? agreeWithBase(name, base.entry.shape, shapes, this.#vocabularies)
        : agreeOrFail(name, base === undefined ? shapes : [base.entry.shape, ...shapes], this.#vocabularies);
    if (agreement.kind === "agreed") {
      for (const i of agreement.skipped) this.#reportSkipped(name, models[i], base);
      const kept = models.filter((_, i) => !agreement.skipped.includes(i));
      for (const one of base === undefined ? kept : [base, ...kept]) this.#reportCut(name, one, agreement.shape);
      return { shape: agreement.shape, models: kept };
    }
    if (agreement.kind === "rows-differ") {
      this.#vocabularies.refuseSizes(name, all);
      return undefined;
    }
    const [first, ...others] = all;
    for (const one of others) {
      if (first === undefined || sameShape(one.entry.shape, first.entry.shape)) continue;
      const message = `"${one.input.label}" has ${name} of shape ${shapeText(one.entry.shape)}, "${first.input.label}" ${shapeText(first.entry.shape)}`;
      const hint = "Only models of one architecture can be merged.";
      this.#findings.repeated("fault", one.input.label, "recipe/shape-mismatch", one.source.place, message, hint);
    }
    return undefined;
  }

  #reportSkipped(name: string, model: Present | undefined, base: Present | undefined): void {
    if (model === undefined || base === undefined) return;
    const { label } = model.input;
    const shapes = `${shapeText(model.entry.shape)} instead of ${shapeText(base.entry.shape)}`;
    this.#notes.push({ tensor: name, input: label, reason: `takes no part: its shape is ${shapes}` });
    const message = `"${label}" takes no part in ${name}: its shape is ${shapes}`;
    const hint = "Its other tensors are merged; leave the model out if that is not what you want.";
    this.#findings.repeated("warning", label, "recipe/tensor-skipped", model.source.place, message, hint);
  }

  #reportCut(name: string, { entry, input, source }: Present, shape: readonly number[]): void {
    if (sameShape(entry.shape, shape)) return;
    const cut = `cut from ${shapeText(entry.shape)} to ${shapeText(shape)}`;
    this.#notes.push({ tensor: name, input: input.label, reason: cut });
    const hint = "Tokens beyond these rows are lost; tokenizer_source: union keeps those of all models.";
    const message = `${name} of "${input.label}" is ${cut}`;
    this.#findings.repeated("warning", input.label, "recipe/tensor-cut", source.place, message, hint);
  }
}
