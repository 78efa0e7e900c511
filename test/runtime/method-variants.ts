/** Every method, in every way that takes another road through it: recipes over the models of generated-models.ts. */
import { MODEL_NAMES } from "./generated-models.ts";

export interface MethodVariant {
  readonly title: string;
  readonly method: string;
  /** Global parameters. */
  readonly global: Readonly<Record<string, string | number | boolean>>;
  /** Per model: what tells `one`, `two` and `three` apart. */
  readonly models: readonly Readonly<Record<string, number>>[];
  /** Listed and named, named only, or absent. */
  readonly base: "listed" | "named" | "absent";
}

const WEIGHTS = [0.7, -0.3, 1 / 3];

function weighted(parameters: readonly Readonly<Record<string, number>>[]) {
  return parameters.map((one, i) => ({ weight: WEIGHTS[i]!, ...one }));
}

const dense: MethodVariant[] = [
  {
    title: "linear",
    method: "linear",
    global: { normalize: true },
    models: weighted([{}, {}, {}]),
    base: "absent",
  },
  {
    title: "linear, sum",
    method: "linear",
    global: { normalize: false },
    models: weighted([{}, {}, {}]),
    base: "absent",
  },
  { title: "passthrough", method: "passthrough", global: {}, models: [{}], base: "absent" },
  { title: "passthrough, scaled", method: "passthrough", global: {}, models: [{ scale: 0.3 }], base: "absent" },
  {
    title: "task_arithmetic",
    method: "task_arithmetic",
    global: { normalize: false, lambda: 0.9 },
    models: weighted([{}, {}, {}]),
    base: "named",
  },
  {
    title: "task_arithmetic, normalized",
    method: "task_arithmetic",
    global: { normalize: true },
    models: weighted([{}, {}, {}]),
    base: "named",
  },
  { title: "slerp", method: "slerp", global: { t: 0.3 }, models: [{}], base: "listed" },
  { title: "model_stock", method: "model_stock", global: { filter_wise: false }, models: [{}, {}, {}], base: "named" },
  {
    title: "model_stock, per row",
    method: "model_stock",
    global: { filter_wise: true },
    models: [{}, {}, {}],
    base: "named",
  },
];

const geometry: MethodVariant[] = [
  ...(["absent", "named"] as const).flatMap((base): MethodVariant[] =>
    [{ nuslerp_flatten: true }, { nuslerp_flatten: false }, { nuslerp_flatten: false, nuslerp_row_wise: true }].map(
      (global, k) => ({
        title: `nuslerp, ${["whole", "rows", "columns"][k]}, base ${base}`,
        method: "nuslerp",
        global,
        models: [{ weight: 0.7 }, { weight: 0.4 }],
        base,
      }),
    ),
  ),
  { title: "multislerp", method: "multislerp", global: {}, models: weighted([{}, {}, {}]), base: "absent" },
  {
    title: "multislerp, deltas, weights as they are",
    method: "multislerp",
    global: { normalize_weights: false, eps: 1e-6 },
    models: [{ weight: 0.7 }, { weight: 0.2 }, { weight: 0.4 }],
    base: "named",
  },
  { title: "karcher", method: "karcher", global: {}, models: [{}, {}, {}], base: "named" },
  {
    title: "karcher, two steps",
    method: "karcher",
    global: { max_iter: 2, tol: 1e-3 },
    models: [{}, {}, {}],
    base: "absent",
  },
];

const selections: MethodVariant[] = [
  { title: "sce", method: "sce", global: {}, models: [{}, {}, {}], base: "named" },
  { title: "sce, selected", method: "sce", global: { select_topk: 0.3 }, models: [{}, {}, {}], base: "named" },
  { title: "sce, few selected", method: "sce", global: { select_topk: 0.02 }, models: [{}, {}, {}], base: "named" },
  { title: "arcee_fusion", method: "arcee_fusion", global: {}, models: [{}], base: "named" },
  { title: "nearswap", method: "nearswap", global: { t: 0.001 }, models: [{}], base: "named" },
  { title: "ram", method: "ram", global: {}, models: [{}, {}, {}], base: "named" },
  {
    title: "ramplus_tl",
    method: "ramplus_tl",
    global: { epsilon: 0.0006, r: 0.3, alpha: 0.5 },
    models: [{}, {}, {}],
    base: "named",
  },
  { title: "magmax", method: "magmax", global: { lambda: 0.8 }, models: weighted([{}, {}, {}]), base: "named" },
  { title: "consensus", method: "consensus", global: { lambda: 0.8 }, models: [{}, {}, {}], base: "named" },
  {
    title: "consensus, k 1, weighted",
    method: "consensus",
    global: { k: 1 },
    models: weighted([{ tau: 0.2 }, { tau: 1 }, {}]),
    base: "named",
  },
];

/** Densities that cut into ties, one that keeps all, and what each mask takes besides. */
const masks: Readonly<Record<string, readonly Readonly<Record<string, number>>[]>> = {
  ties: [{ density: 0.4 }, { density: 0.77 }, { density: 1 }],
  dare_ties: [{ density: 0.4 }, { density: 0.9 }, { density: 1 }],
  dare_linear: [{ density: 0.4 }, { density: 0.9 }, { density: 1 }],
  breadcrumbs: [
    { density: 0.4, gamma: 0.1 },
    { density: 0.7, gamma: 0.01 },
    { density: 0.95, gamma: 0.2 },
  ],
  breadcrumbs_ties: [
    { density: 0.4, gamma: 0.1 },
    { density: 0.7, gamma: 0 },
    { drop_smallest: 0.3, drop_largest: 0.1 },
  ],
  della: [
    { density: 0.4, epsilon: 0.2 },
    { density: 0.7, epsilon: 0.05 },
    { density: 0.5, window_size: 0.6 },
  ],
  della_linear: [
    { density: 0.4, epsilon: 0.2 },
    { density: 0.7, epsilon: 0 },
    { density: 1, epsilon: 0.1 },
  ],
};

export const RESCALE_MODES = ["off", "l1", "l2", "linf", "inverse_keep"] as const;

const sparsified: MethodVariant[] = Object.entries(masks).flatMap(([method, parameters]) =>
  RESCALE_MODES.map((mode, k) => {
    const normalize = k % 2 === 0;
    const rescale = mode === "off" ? { rescale: false } : { rescale: true, rescale_mode: mode };
    return {
      title: `${method}, rescale ${mode}${normalize ? ", normalized" : ""}`,
      method,
      global: { ...rescale, normalize, lambda: 0.8 },
      models: weighted(parameters),
      base: "named",
    } as const;
  }),
);

export const variants: readonly MethodVariant[] = [...dense, ...geometry, ...selections, ...sparsified];

/** One variant of each method. */
export const oneOfEach: readonly MethodVariant[] = variants.filter(
  ({ method }, k) => variants.findIndex((other) => other.method === method) === k,
);

/** The recipe as YAML; `dtype` in torch's names, left out for that of the base. */
export function recipeOf({ method, global, models, base }: MethodVariant, dtype?: string): string {
  const flow = (map: Readonly<Record<string, string | number | boolean>>) =>
    `{${Object.entries(map)
      .map(([key, value]) => `${key}: ${value}`)
      .join(", ")}}`;
  const listed = models.map((parameters, i) => `  - {model: ${MODEL_NAMES[i]}, parameters: ${flow(parameters)}}`);
  return [
    `merge_method: ${method}`,
    ...(base === "absent" ? [] : ["base_model: base"]),
    ...(dtype === undefined ? [] : [`out_dtype: ${dtype}`]),
    `parameters: ${flow(global)}`,
    "models:",
    ...(base === "listed" ? ["  - model: base"] : []),
    ...listed,
    "",
  ].join("\n");
}
