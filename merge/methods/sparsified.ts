import { defineMethod, type MethodDefinition, type ParameterDeclaration } from "./definition.ts";
import { type MaskKind, planMasks, RANDOM_ELEMENTS_MAX } from "./masks.ts";
import { number, scopeParameter, sumParameters, weightDocumentation } from "./parameters.ts";
import {
  beginTaskVectors,
  type Consensus,
  foldTaskVectors,
  mergeTaskVectors,
  readsOfTaskVectors,
  readTaskVectors,
  settleTaskVectors,
  surveyTaskVectors,
} from "./task-vectors.ts";

/**
 * Sparsified task vectors (docs/spec/methods.md): delta → mask → rescale → weight → consensus → sum → normalize → lambda → + base.
 * Each method is a choice of mask, consensus and defaults; the pipeline is task-vectors.ts, the masks are masks.ts.
 */
interface Choice {
  readonly name: string;
  readonly title: string;
  readonly paper: string;
  readonly documentation: string;
  readonly formula: string;
  readonly deviations: readonly string[];
  readonly mask: MaskKind;
  readonly consensus: Consensus;
  readonly normalize: boolean;
  readonly rescale: boolean;
  readonly parameters?: Readonly<Record<string, ParameterDeclaration>>;
  readonly refused?: Readonly<Record<string, string>>;
  readonly check?: MethodDefinition["check"];
}

const tieRule =
  "Elements of equal magnitude are ranked by index, the lower first; mergekit leaves them to an unstable sort.";
const maskRule =
  "Masks come from a counter-based generator (seed, tensor name, model, element); mergekit's depend on the order of execution.";
const keepOne =
  "A density above 0 whose share is less than one element keeps one, the largest |d| (of equals the lowest index), under every mask; mergekit under that of ties.";

function sparsified(choice: Choice): MethodDefinition {
  const { mask, consensus } = choice;
  return defineMethod({
    name: choice.name,
    title: choice.title,
    paper: choice.paper,
    documentation: choice.documentation,
    formula: choice.formula,
    deviations: choice.deviations,
    base: "apart",
    appendsBase: true,
    needsBase: true,
    models: { min: 1, max: Number.POSITIVE_INFINITY },
    shapeMismatch: "skip",
    prunes: true,
    elementsMax: mask === "random" || mask === "ranked" ? RANDOM_ELEMENTS_MAX : Number.POSITIVE_INFINITY,
    parameters: {
      weight: { scope: "tensor", type: "number", required: true, documentation: weightDocumentation },
      density: {
        scope: "tensor",
        type: "number",
        default: 1,
        range: { min: 0, max: 1 },
        documentation: "Share of the delta's elements that is kept; 1 keeps all, unmasked.",
      },
      ...choice.parameters,
      normalize: {
        scope: "global",
        type: "boolean",
        default: choice.normalize,
        documentation: "Divide by the sum of the weights that count.",
      },
      rescale: {
        scope: "global",
        type: "boolean",
        default: choice.rescale,
        documentation: "Make up for what the mask took.",
      },
      rescale_mode: {
        scope: "global",
        type: "word",
        default: "l1",
        words: ["l1", "l2", "linf", "inverse_keep"],
        documentation:
          "l1, l2, linf: keep that norm of the delta. inverse_keep: divide by the probability of being kept, as the papers do.",
      },
      ...sumParameters,
      ...scopeParameter,
    },
    refused: choice.refused ?? {},
    ...(choice.check === undefined ? {} : { check: choice.check }),
    begin: (task) => beginTaskVectors(task, planMasks(mask, task)),
    survey: surveyTaskVectors,
    readSummary: readTaskVectors,
    fold: foldTaskVectors,
    settle: settleTaskVectors,
    merge: (context, verdict) => mergeTaskVectors(context, verdict, consensus),
    reads: (task, cutting) => readsOfTaskVectors(task, planMasks(mask, task), cutting),
  });
}

export const ties = sparsified({
  name: "ties",
  title: "TIES: trim, elect sign, merge",
  paper: "arXiv:2306.01708",
  documentation:
    "Keeps the largest deltas of each model, elects for each element the sign of their weighted sum and averages those that agree. Yadav et al. 2023.",
  formula: "keep the k = max(1, ⌊density·E⌋) largest |dᵢ|;  out = b + λ · Σ_agreeing wᵢ dᵢ / Σ_agreeing wᵢ",
  deviations: [
    tieRule,
    keepOne,
    "The authors threshold over the whole model and divide by counts; mergekit and this tool threshold per tensor and divide by weights.",
  ],
  mask: "magnitude",
  consensus: "sign",
  normalize: true,
  rescale: false,
});

const dareDeviations = [
  maskRule,
  keepOne,
  "rescale keeps the L1 norm, as in mergekit; rescale_mode: inverse_keep divides by the density, as in the paper.",
];

export const dareTies = sparsified({
  name: "dare_ties",
  title: "DARE with TIES sign election",
  paper: "arXiv:2311.03099",
  documentation:
    "Drops elements of each delta at random, rescales the rest, elects a sign for each element and adds those that agree. Yu et al. 2023.",
  formula: "keep each element with probability density;  out = b + λ · Σ_agreeing wᵢ sᵢ dᵢ",
  deviations: dareDeviations,
  mask: "random",
  consensus: "sign",
  normalize: false,
  rescale: true,
});

export const dareLinear = sparsified({
  name: "dare_linear",
  title: "DARE: drop at random, rescale, add",
  paper: "arXiv:2311.03099",
  documentation: "Drops elements of each delta at random, rescales the rest and adds. Yu et al. 2023.",
  formula: "keep each element with probability density;  out = b + λ · Σ wᵢ sᵢ dᵢ",
  deviations: dareDeviations,
  mask: "random",
  consensus: "none",
  normalize: false,
  rescale: true,
});

const breadcrumbParameters: Readonly<Record<string, ParameterDeclaration>> = {
  gamma: {
    scope: "tensor",
    type: "number",
    default: 0.01,
    range: { min: 0, max: 1 },
    documentation: "Share of the largest deltas that is dropped as outliers.",
  },
  drop_smallest: {
    scope: "tensor",
    type: "number",
    range: { min: 0, max: 1 },
    documentation: "Share of the smallest deltas to drop; with drop_largest, in place of density and gamma.",
  },
  drop_largest: {
    scope: "tensor",
    type: "number",
    range: { min: 0, max: 1 },
    documentation: "Share of the largest deltas to drop; with drop_smallest, in place of density and gamma.",
  },
};
const breadcrumbRefused = {
  beta: "beta has three meanings: in the authors' code the share that is kept, in the paper a lower percentile, in mergekit's documentation the share of largest deltas removed. Say density and gamma, or drop_smallest and drop_largest.",
};
const breadcrumbDeviations = [tieRule, keepOne, "The authors mask per row; mergekit and this tool per tensor."];
const breadcrumbFormula = "drop the ⌊gamma·E⌋ largest |dᵢ| and so many of the smallest that ⌊density·E⌋ remain";

export const breadcrumbs = sparsified({
  name: "breadcrumbs",
  title: "Model Breadcrumbs: drop the smallest and the largest deltas, add",
  paper: "arXiv:2312.06795",
  documentation:
    "Drops both the smallest deltas and the outliers of each model and adds what is between. Made for very many models. Davari and Belilovsky 2023.",
  formula: `${breadcrumbFormula};  out = b + λ · Σ wᵢ dᵢ`,
  deviations: breadcrumbDeviations,
  mask: "band",
  consensus: "none",
  normalize: false,
  rescale: false,
  parameters: breadcrumbParameters,
  refused: breadcrumbRefused,
});

export const breadcrumbsTies = sparsified({
  name: "breadcrumbs_ties",
  title: "Model Breadcrumbs with TIES sign election",
  paper: "arXiv:2312.06795",
  documentation: "Masks as in breadcrumbs, then elects a sign for each element and adds those that agree.",
  formula: `${breadcrumbFormula};  out = b + λ · Σ_agreeing wᵢ dᵢ`,
  deviations: breadcrumbDeviations,
  mask: "band",
  consensus: "sign",
  normalize: false,
  rescale: false,
  parameters: breadcrumbParameters,
  refused: breadcrumbRefused,
});

const dellaParameters: Readonly<Record<string, ParameterDeclaration>> = {
  epsilon: {
    scope: "tensor",
    type: "number",
    default: 0.15,
    range: { min: 0, max: 1 },
    documentation:
      "Keep probabilities run from density - epsilon (smallest in its row) to density + epsilon (largest).",
  },
  window_size: {
    scope: "tensor",
    type: "number",
    range: { min: 0, max: 2 },
    documentation: "2 * epsilon, the paper's parameter; in place of epsilon.",
  },
};
const dellaFormula = "keep with p = density − ε + 2ε·r/(C−1), r the rank of |d| in its row";
const dellaDeviations = [
  maskRule,
  keepOne,
  "Ranks are exact; mergekit holds them in the dtype of the deltas, where bfloat16 collapses ranks above 256.",
  "Tensors of 3 or more dimensions have rows along the last one; mergekit ranks along dimension 1.",
];

/** Between 0 and 1 the density needs room for epsilon on both sides. */
const checkDella: NonNullable<MethodDefinition["check"]> = (_global, tensor) => {
  const density = number(tensor, "density");
  if (density >= 1 || density <= 0) return undefined;
  const epsilon = tensor.window_size === undefined ? number(tensor, "epsilon") : number(tensor, "window_size") / 2;
  if (density - epsilon > 0 && density + epsilon < 1) return undefined;
  const room = Math.min(density, 1 - density);
  return `density ${density} with epsilon ${epsilon} gives keep probabilities outside (0, 1): for this density epsilon must be below ${room}`;
};

export const della = sparsified({
  name: "della",
  title: "DELLA: keep by magnitude and chance, elect sign",
  paper: "arXiv:2406.11617",
  documentation:
    "Keeps larger deltas with higher probability (MAGPRUNE), rescales, elects a sign for each element and averages those that agree. Deep et al. 2024.",
  formula: `${dellaFormula};  out = b + λ · Σ_agreeing wᵢ sᵢ dᵢ / Σ_agreeing wᵢ`,
  deviations: dellaDeviations,
  mask: "ranked",
  consensus: "sign",
  normalize: true,
  rescale: true,
  parameters: dellaParameters,
  check: checkDella,
});

export const dellaLinear = sparsified({
  name: "della_linear",
  title: "DELLA without sign election",
  paper: "arXiv:2406.11617",
  documentation: "Keeps larger deltas with higher probability (MAGPRUNE), rescales and adds.",
  formula: `${dellaFormula};  out = b + λ · Σ wᵢ sᵢ dᵢ`,
  deviations: dellaDeviations,
  mask: "ranked",
  consensus: "none",
  normalize: false,
  rescale: true,
  parameters: dellaParameters,
  check: checkDella,
});
