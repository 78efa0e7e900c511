import type { ParameterValue, PlainData, Step, TensorTask } from "../work/index.ts";
import type { RangeContext } from "./range.ts";
import type { Steps } from "./steps.ts";
import type { SurveyedRange } from "./summary-forms.ts";

/**
 * What a method takes. CLI help, recipe validation and docs/methods.md are generated from these.
 */
export interface ParameterDeclaration {
  /** "global": one value per output tensor. "tensor": one per model and tensor. */
  readonly scope: "global" | "tensor";
  readonly type: "number" | "boolean" | "word";
  /** Required: every model but the base must have it. Otherwise `default`, or unset where there is none. */
  readonly required?: boolean;
  readonly default?: ParameterValue;
  /** Allowed numbers, ends included. */
  readonly range?: { readonly min?: number; readonly max?: number };
  /** Allowed words, for type "word". */
  readonly words?: readonly string[];
  /** One sentence. */
  readonly documentation: string;
}

/** What recipe validation needs to know of a method; a full MethodDefinition has it all. */
export interface MethodDeclaration {
  readonly name: string;
  /** One line for lists, e.g. "TIES: trim, elect sign, merge". */
  readonly title: string;
  readonly paper?: string;
  /** One paragraph, and the formula as text. */
  readonly documentation: string;
  readonly formula: string;
  /** Where mergekit, the paper or the authors' code differ; one sentence each. */
  readonly deviations: readonly string[];
  /**
   * "apart": required, not one of the x_i. "optional": the same, may be missing.
   * "listed": an input like the others; a base_model that is not listed is appended only if `appendsBase`.
   */
  readonly base: "apart" | "optional" | "listed";
  readonly appendsBase: boolean;
  /** "listed" methods that need a base_model among their inputs all the same (slerp). */
  readonly needsBase: boolean;
  /** How many x_i one tensor takes. Optional tensors present in fewer than `min` models are left out or copied. */
  readonly models: { readonly min: number; readonly max: number };
  /** docs/spec/methods.md, "Shape mismatch". "skip": leave models out of tensors, embeddings excepted, that do not fit. */
  readonly shapeMismatch: "fail" | "skip";
  /** True where an unset or 1 density means that nothing is pruned: a lint warns if no density stands in the recipe. */
  readonly prunes: boolean;
  /** "only": the models are LoRA adapters, and so is the output. */
  readonly adapters?: "only";
  /** Most elements of a tensor: random masks number no more (docs/spec/random.md). */
  readonly elementsMax: number;
  readonly parameters: Readonly<Record<string, ParameterDeclaration>>;
  /** Names that are understood and refused, with the reason: "beta" in breadcrumbs. */
  readonly refused: Readonly<Record<string, string>>;
  /**
   * Checks of values that go together (density and epsilon), for one model of one tensor, everything resolved.
   * Returns a sentence that says what is wrong and what is allowed, or undefined.
   */
  check?(
    global: Readonly<Record<string, ParameterValue>>,
    tensor: Readonly<Record<string, ParameterValue>>,
  ): string | undefined;
}

/**
 * A method: its declaration and the arithmetic of its rounds. Requests, summaries and verdicts are plain data. Everything here is a pure
 * function of its arguments except what goes through the context.
 */
export interface MethodDefinition<Request = PlainData, Summary = PlainData, Verdict = PlainData>
  extends MethodDeclaration {
  /**
   * What must be known of the whole tensor first: a request for a survey, or at once a verdict where nothing must.
   * @throws MethodError for parameters that cannot be merged with (weights that sum to zero); called when planning.
   */
  begin(task: TensorTask): Step<Request, Verdict>;
  /** Reads one range of whole blocks and says what the request asks. Models stream past; nothing is written. */
  survey(context: RangeContext, request: Request): Promise<Summary>;
  /**
   * A summary of a range as it came from elsewhere, once it is known to be what the request asks for.
   * @throws MethodError `method/other-summary`, at any step
   */
  readSummary(task: TensorTask, request: Request, summary: PlainData, range: SurveyedRange): Summary | Steps<Summary>;
  /** Of the summary of all that lies before a range, and of that range, one. Ranges are folded in their order, from the first on. */
  fold(left: Summary, right: Summary): Steps<Summary>;
  /** The folded summary of the whole tensor: the verdict, or one more request. */
  settle(task: TensorTask, request: Request, whole: Summary): Step<Request, Verdict> | Steps<Step<Request, Verdict>>;
  /** Computes one range and emits it chunk by chunk, in order. */
  merge(context: RangeContext, verdict: Verdict): Promise<void>;
  /** For the plan: how often the bytes of base and models are read in all rounds together, of ordinary values. */
  reads(task: TensorTask, cutting: Cutting): Reads;
}

/** How a tensor is taken in: in how many parts it is merged, and in how many ranges it is surveyed. One and one: it is not cut. */
export interface Cutting {
  readonly parts: number;
  readonly ranges: number;
}

export interface Reads {
  readonly base: number;
  /** Of each model, or of all alike. */
  readonly models: number | readonly number[];
  /** Of a stored tensor that several sources share; absent: as often as the source among them that is read most. */
  readonly shared?: number;
  /** Of these, how much is read of places far apart before any pass: it is read even of sources that are kept from round to round. */
  readonly samples?: number;
  /** In how many ranges, over all rounds, the sources are opened anew: what is kept for a range is read as often. Absent: as merged. */
  readonly ranges?: number;
}

/** Ranges of all rounds: surveys of so many rounds and the merge. A tensor that is not cut stays one range from round to round. */
export function rangesOf({ parts, ranges }: Cutting, rounds: number): number {
  return parts === 1 ? 1 : rounds * ranges + parts;
}

/**
 * Checks the types of a method's rounds against each other, then forgets them: the registry holds methods of every kind. What comes back
 * is the method's own, or was read by it: requests and verdicts are made by `begin` and `settle`, summaries pass `readSummary`.
 */
export function defineMethod<Request, Summary, Verdict>(
  definition: MethodDefinition<Request, Summary, Verdict>,
): MethodDefinition {
  return definition as unknown as MethodDefinition;
}
