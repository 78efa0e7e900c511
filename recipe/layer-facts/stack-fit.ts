/** A layer by its tensors: the rest of their names after its number, and their shapes. */
export interface StackLayer {
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  /** What the config says of it: layers of one kind may stand for each other. */
  readonly kind: string;
}

/** How a layer of the output is not what the model whose config it has would have there. */
export interface Misfit {
  /** Of the output. */
  readonly layer: number;
  /** Of the tensor's name, after the number of the layer. */
  readonly suffix: string;
  /** "shape": another one; "lacks", "has": the tensor; "place": it has what only a first (or last) layer has. */
  readonly what: "shape" | "lacks" | "has" | "place";
  readonly found?: readonly number[] | undefined;
  readonly expected?: readonly number[] | undefined;
  /** The layer of the model with which it was compared. */
  readonly like: number;
}

interface Signed extends StackLayer {
  readonly signature: string;
}

/**
 * Every layer of the output against those of the model whose config the output has: it must have the tensors and shapes of one of the
 * same kind. Where layers of one kind differ by their place, as the first ones of T5 and ModernBERT do, the place counts as well.
 */
export function misfitsOf(output: readonly StackLayer[], model: readonly StackLayer[]): readonly Misfit[] {
  const reference = model.map(signed);
  return output.map(signed).flatMap((layer, j) => {
    const candidates = candidatesFor(layer.kind, j, output.length, reference);
    if (candidates.length === 0 || candidates.some((k) => reference[k]?.signature === layer.signature)) return [];
    const differences = candidates.map((k) => differencesOf(layer, j, reference[k], k));
    const closest = differences.reduce((best, other) => (other.length < best.length ? other : best));
    const isOfPlace = reference.some(({ signature }) => signature === layer.signature);
    return closest.map((misfit) => (isOfPlace && misfit.what === "has" ? { ...misfit, what: "place" } : misfit));
  });
}

/**
 * Layers of the model that differ without a reason that is known, neither in the config nor in their place, and that stand elsewhere in
 * the output: nobody knows whether they may. The first of them; undefined where all is well.
 */
export function maybeUnexplained(output: readonly StackLayer[], model: readonly StackLayer[]): number | undefined {
  const reference = model.map(signed);
  const at = output.map(signed).findIndex((layer, j) => {
    const candidates = candidatesFor(layer.kind, j, output.length, reference);
    const kinds = new Set(candidates.map((k) => reference[k]?.signature));
    const isFirstAmiss = addsOrLacks(reference) && (j === 0) !== (layer.signature === reference[0]?.signature);
    const isOpen = kinds.size > 1 || isFirstAmiss;
    return isOpen && kinds.has(layer.signature) && reference[j]?.signature !== layer.signature;
  });
  return at < 0 ? undefined : at;
}

/** The layers of the model that layer j of the output may be like. */
function candidatesFor(kind: string, j: number, count: number, reference: readonly Signed[]): readonly number[] {
  const all = reference.flatMap(({ shapes }, k) => (shapes.size > 0 ? [k] : []));
  const alike = all.filter((k) => reference[k]?.kind === kind);
  const chosen = alike.length > 0 ? alike : all;
  const signatures = (ks: readonly number[]) => new Set(ks.map((k) => reference[k]?.signature));
  if (signatures(chosen).size < 2) return chosen;
  for (const [end, at] of [[0, 0] as const, [reference.length - 1, count - 1] as const]) {
    const others = chosen.filter((k) => k !== end);
    const isEnd =
      chosen.includes(end) && signatures(others).size === 1 && (others.length > 1 || isApart(reference, end));
    if (isEnd) return j === at ? [end] : others;
  }
  return chosen;
}

/** Whether a layer has a tensor that no other has, or lacks one that all others have. */
function isApart(reference: readonly Signed[], end: number): boolean {
  const { own, shared } = besides(reference, end);
  return reference.length > 2 && (own.length > 0 || shared.length > 0);
}

/** Whether the first layer is as the others but for tensors that it adds, or lacks: then they are not of another kind. */
function addsOrLacks(reference: readonly Signed[]): boolean {
  const { own, shared } = besides(reference, 0);
  return reference.length > 2 && own.length > 0 !== shared.length > 0;
}

/** What only one layer has, and what only that one lacks. */
function besides(reference: readonly Signed[], end: number): { own: readonly string[]; shared: readonly string[] } {
  const layer = reference[end]?.shapes ?? new Map<string, readonly number[]>();
  const others = reference.filter((_, k) => k !== end);
  const [another] = others;
  return {
    own: [...layer.keys()].filter((suffix) => others.every(({ shapes }) => !shapes.has(suffix))),
    shared: [...(another?.shapes.keys() ?? [])].filter(
      (suffix) => !layer.has(suffix) && others.every(({ shapes }) => shapes.has(suffix)),
    ),
  };
}

function differencesOf(layer: Signed, j: number, other: Signed | undefined, like: number): Misfit[] {
  const expected = other?.shapes ?? new Map<string, readonly number[]>();
  const misfits: Misfit[] = [];
  for (const [suffix, shape] of layer.shapes) {
    const wanted = expected.get(suffix);
    const isSame = wanted !== undefined && wanted.join() === shape.join();
    if (!isSame)
      misfits.push({
        layer: j,
        suffix,
        what: wanted === undefined ? "has" : "shape",
        found: shape,
        expected: wanted,
        like,
      });
  }
  for (const [suffix, shape] of expected)
    if (!layer.shapes.has(suffix)) misfits.push({ layer: j, suffix, what: "lacks", expected: shape, like });
  return misfits;
}

function signed(layer: StackLayer): Signed {
  const names = [...layer.shapes].map(([suffix, shape]) => `${suffix}[${shape.join()}]`);
  return { ...layer, signature: names.sort().join("\n") };
}
