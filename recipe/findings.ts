import type { Fault, RecipeCode, TextPlace } from "./errors.ts";

interface Finding {
  readonly code: RecipeCode;
  readonly place: TextPlace;
  readonly message: string;
  readonly hint: string;
}

/** Collects the faults and warnings of one recipe, so that all are reported at once. */
export class Findings {
  readonly #file: string;
  readonly #repeated = new Map<string, { finding: Finding; list: Finding[]; others: number }>();
  readonly #faults: Finding[] = [];
  readonly #warnings: Finding[] = [];

  constructor(file: string) {
    this.#file = file;
  }

  fault(code: RecipeCode, place: TextPlace, message: string, hint: string): void {
    this.#faults.push({ code, place, message, hint });
  }

  warning(code: RecipeCode, place: TextPlace, message: string, hint: string): void {
    this.#warnings.push({ code, place, message, hint });
  }

  /**
   * The same thing found in tensor after tensor: the first is told in full, the others are counted.
   * `key`: what makes it the same thing.
   */
  repeated(
    severity: "fault" | "warning",
    key: string,
    code: RecipeCode,
    place: TextPlace,
    message: string,
    hint: string,
  ) {
    const id = `${severity} ${code} ${key}`;
    const known = this.#repeated.get(id);
    if (known !== undefined) {
      known.others++;
      return;
    }
    const finding = { code, place, message, hint };
    const list = severity === "fault" ? this.#faults : this.#warnings;
    list.push(finding);
    this.#repeated.set(id, { finding, list, others: 0 });
  }

  /** Takes back what `repeated` was told under this key: something that says it as well is told instead. */
  withdraw(severity: "fault" | "warning", key: string, code: RecipeCode): void {
    const id = `${severity} ${code} ${key}`;
    const known = this.#repeated.get(id);
    if (known === undefined) return;
    known.list.splice(known.list.indexOf(known.finding), 1);
    this.#repeated.delete(id);
  }

  get faults(): Fault[] {
    return this.#finished(this.#faults);
  }

  get warnings(): Fault[] {
    return this.#finished(this.#warnings);
  }

  /** In the order of the text; of one place, as found. */
  #finished(list: readonly Finding[]): Fault[] {
    const others = new Map([...this.#repeated.values()].map((entry) => [entry.finding, entry.others]));
    return list
      .map((finding) => {
        const { code, place, hint } = finding;
        const more = others.get(finding) ?? 0;
        const message =
          more === 0 ? finding.message : `${finding.message} (and ${more} more ${more === 1 ? "tensor" : "tensors"})`;
        return { code, message, hint, file: this.#file, line: place.line, column: place.column };
      })
      .sort((a, b) => a.line - b.line || a.column - b.column);
  }
}
