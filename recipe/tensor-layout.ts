import { isAfterLayers, splitLayer } from "../checkpoint/index.ts";

/** The tensors of a model, sorted by the layer they belong to. Names in the order of the checkpoint. */
export interface TensorLayout {
  /** Before the layers, and whatever does not follow them. */
  readonly pre: readonly string[];
  /** After the layers: final norm, output head. */
  readonly post: readonly string[];
  /** By prefix, in order of appearance: one per stack of layers. Models of one tower have one. */
  readonly stacks: ReadonlyMap<string, LayerStack>;
}

export interface LayerStack {
  /** Highest layer number plus one. */
  readonly layerCount: number;
  readonly layers: ReadonlyMap<number, readonly string[]>;
}

/**
 * The layout of a model of one tower whose names have other numbers besides: a head of several parts (`score.0.weight`), layers that
 * predict further tokens (`mtp.layers.0…`). The stack that has the `layerCount` of the config, and as many as any, is that of the
 * layers; the others belong to none. As it is, where that leaves it open.
 */
export function mainStackOf(layout: TensorLayout, layerCount: number): TensorLayout {
  const [main, second] = [...layout.stacks].filter(([, stack]) => stack.layerCount >= layerCount && layerCount > 0);
  if (layout.stacks.size === 1 || main === undefined || second !== undefined) return layout;
  const others = [...layout.stacks].filter(([prefix]) => prefix !== main[0]);
  const beside = others.flatMap(([, { layers }]) => [...layers.values()].flat());
  return { pre: layout.pre, post: [...layout.post, ...beside], stacks: new Map([main]) };
}

/** `names`: of a model's tensors, all or those of a module. */
export function layoutOf(names: Iterable<string>): TensorLayout {
  const pre: string[] = [];
  const post: string[] = [];
  const stacks = new Map<string, Map<number, string[]>>();
  for (const name of names) {
    const split = splitLayer(name);
    if (split === undefined) {
      (isAfterLayers(name) ? post : pre).push(name);
      continue;
    }
    const prefix = stackPrefix(split.prefix);
    const layers = stacks.get(prefix) ?? new Map<number, string[]>();
    stacks.set(prefix, layers);
    const ofLayer = layers.get(split.layer) ?? [];
    layers.set(split.layer, ofLayer);
    ofLayer.push(name);
  }
  splitApart(stacks);
  const counted = [...stacks].map(([prefix, layers]) => {
    const layerCount = [...layers.keys()].reduce((highest, layer) => Math.max(highest, layer + 1), 0);
    return [prefix, { layerCount, layers }] as const;
  });
  return { pre, post, stacks: new Map(counted) };
}

/** Lists of modules of which each has a part of every layer (XLM, FlauBERT): the first stands for all. */
const partsOfLayers = /(?:^|\.)(?:layer_norm1|ffns|layer_norm2)$/;

function stackPrefix(prefix: string): string {
  return prefix.replace(partsOfLayers, (part) => `${part.startsWith(".") ? "." : ""}attentions`);
}

/** Of a model, or a module, in which there is no such first list, each is a stack by itself. */
function splitApart(stacks: Map<string, Map<number, string[]>>): void {
  for (const [prefix, layers] of [...stacks]) {
    const names = [...layers.values()].flat();
    if (names.some((name) => splitLayer(name)?.prefix === prefix)) continue;
    stacks.delete(prefix);
    for (const name of names) {
      const { prefix: own = "", layer = 0 } = splitLayer(name) ?? {};
      const ofOwn = stacks.get(own) ?? new Map<number, string[]>();
      stacks.set(own, ofOwn.set(layer, [...(ofOwn.get(layer) ?? []), name]));
    }
  }
}

/** The layers of a stack: no more than the config counts, where it does. */
export function countedLayers({ layerCount }: LayerStack, configured: number | undefined): number {
  return configured === undefined || configured === 0 ? layerCount : Math.min(layerCount, configured);
}

/** The numbers of the layers below `count` that have no tensors. */
export function missingLayers({ layers }: LayerStack, count: number): readonly number[] {
  return Array.from({ length: count }, (_, layer) => layer).filter((layer) => !layers.has(layer));
}
