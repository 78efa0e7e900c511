import {
  type Checkpoint,
  type CountHolder,
  countedInConfig,
  countHolders,
  ownPart,
  type StackPlace,
  type Tower,
  towersOf,
} from "../checkpoint/index.ts";
import { layoutOf } from "./tensor-layout.ts";

/** What the lists of layers are called in nearly all models; other lists of modules have numbers in their names as well. */
const usual = /(?:^|\.)(?:layers?|blocks?|h)$/;

/** What the config of a model says of the sizes of its stacks of layers. */
export class StackCounts {
  readonly #config: Readonly<Record<string, unknown>>;
  readonly #towerOf: (name: string) => Tower;
  /** Of the stacks that one number might be about, those that it is about. */
  readonly #main: ReadonlySet<string>;
  readonly #groups: readonly (readonly string[])[];
  readonly #sizes: ReadonlyMap<string, number>;

  constructor({ config = {}, tensors }: Pick<Checkpoint, "config" | "tensors">) {
    this.#config = config;
    this.#towerOf = towersOf(tensors.keys());
    const { stacks } = layoutOf(tensors.keys());
    const groups = new Map<string, string[]>();
    for (const prefix of stacks.keys()) {
      const group = ownPart(config, prefix)?.join(".") ?? ` ${this.#tower(prefix)}`;
      groups.set(group, [...(groups.get(group) ?? []), prefix]);
    }
    this.#groups = [...groups.values()];
    this.#sizes = new Map([...stacks].map(([prefix, { layerCount }]) => [prefix, layerCount]));
    const main = [...groups.values()].flatMap((prefixes) => {
      const place = { prefix: prefixes[0] ?? "", tower: this.#tower(prefixes[0] ?? ""), isMain: true };
      const counted = prefixes.filter((prefix) => {
        const stored = stacks.get(prefix)?.layerCount ?? 0;
        return stored === countedInConfig(config, place, stored);
      });
      const called = counted.filter((prefix) => usual.test(prefix));
      // What is about the language says so, if there is something else beside it.
      const spoken = called.filter((prefix) => /language|text|llm|decoder/.test(prefix));
      return [counted, called, spoken, prefixes].find(({ length }) => length === 1) ?? [];
    });
    this.#main = new Set(main);
  }

  placeOf(prefix: string): StackPlace {
    return { prefix, tower: this.#tower(prefix), isMain: this.#main.has(prefix) };
  }

  /** Undefined where the config does not count the stack, or may count another. */
  configured(prefix: string): number | undefined {
    return countedInConfig(this.#config, this.placeOf(prefix), this.#sizes.get(prefix) ?? 0);
  }

  /** Lists of as many modules in the same tower or part: something for each of the layers, it may be. */
  twinsOf(prefix: string): readonly string[] {
    const group = this.#groups.find((prefixes) => prefixes.includes(prefix)) ?? [];
    const shared = [...this.#sizes.keys()].filter(
      (other) => this.#tower(other) === "shared" && ownPart(this.#config, other) === undefined,
    );
    return [...new Set([...group, ...shared, ...this.#uncountedOfPair(prefix)])].filter(
      (other) => other !== prefix && this.#sizes.get(other) === this.#sizes.get(prefix),
    );
  }

  /** Of encoder and decoder the other, where one number may count both: it is counted by none of its own. */
  #uncountedOfPair(prefix: string): readonly string[] {
    if (this.#tower(prefix) !== "encoder") return [];
    return [...this.#sizes].flatMap(([other, size]) => {
      const tower = this.#tower(other);
      const place = { prefix: other, tower, isMain: true };
      return tower === "decoder" && countedInConfig(this.#config, place, size) === undefined ? [other] : [];
    });
  }

  holders(prefix: string, count: number): readonly CountHolder[] {
    return countHolders(this.#config, this.placeOf(prefix), count);
  }

  #tower(prefix: string): Tower {
    return this.#towerOf(`${prefix}.0.weight`);
  }
}
