import { CodedError, type Explanations } from "../errors/index.ts";

/** Everything that can be wrong with a recipe, and what is worth a word of warning. docs/errors.md is made of this. */
export const recipeCodes = {
  // the text
  "recipe/yaml": {
    means: "The text is no YAML, or uses what recipes do not have.",
    advice: "The place is named.",
  },
  "recipe/too-large": {
    means: "Longer, deeper or with more aliases than any recipe.",
    advice: "Write it out more plainly.",
  },
  "recipe/duplicate-key": {
    means: "A key stands twice in one map; the last counts.",
    advice: "Remove one of the two.",
  },
  "recipe/other-program": {
    means: "The file was written for mergekit-moe, mergekit-evolve or mergekit-tokensurgeon.",
    advice: "Use that program, or write a recipe with `merge_method` and `models`.",
  },
  "recipe/not-yet": {
    means: "A key or form of mergekit that is recognised and not done yet.",
    advice: "The hint says what to do without.",
  },
  "recipe/unknown-key": {
    means: "A key that means nothing here.",
    advice: "Take the suggestion, or `--allow-unknown-keys`.",
  },
  "recipe/missing-key": {
    means: "A key that is needed is not there.",
    advice: "Add it.",
  },
  "recipe/wrong-type": {
    means: "A list, map, text or number stands where another is expected.",
    advice: "The message says which.",
  },
  "recipe/wrong-value": {
    means: "A value that is not allowed: out of range, no dtype, no word of the list.",
    advice: "The message says what is allowed.",
  },
  "recipe/no-effect": {
    means: "A key that is accepted and does nothing.",
    advice: "Remove it.",
  },
  // what it names
  "recipe/unknown-method": {
    means: "There is no such method.",
    advice: "Take the suggestion; `deltaworks methods` lists them.",
  },
  "recipe/model-reference": {
    means: "A model's name has more than one `@` or `+`, or is no text.",
    advice: "Write `path` or `owner/name@revision`.",
  },
  "recipe/refused-parameter": {
    means: "A name with several meanings in the literature (`beta` in breadcrumbs).",
    advice: "Use the names of the hint.",
  },
  "recipe/missing-parameter": {
    means: "A required parameter is unset for a model and tensor.",
    advice: "Set it; a last condition without `filter` covers the rest.",
  },
  "recipe/conflicting-parameters": {
    means: "Values that do not go together (density and epsilon in della).",
    advice: "The message says what is allowed.",
  },
  "recipe/model-count": {
    means: "Too few or too many models for the method.",
    advice: "Add or remove models.",
  },
  "recipe/missing-base": {
    means: "The method needs a `base_model`.",
    advice: "Name it; in `slices` list it among the sources.",
  },
  "recipe/base-unlisted": {
    means:
      "`linear` with a `base_model` that is not among the models, and a `weight` at the top: mergekit 0.1.5 merges such a base with that weight, earlier versions stopped.",
    advice: "List the base to merge it, or give each model its own weight.",
  },
  "recipe/layer-range": {
    means: "A range is empty, runs backwards, goes past the model's end, or differs in length from its neighbours.",
    advice: "The message has the model's layers.",
  },
  "recipe/missing-layers": {
    means:
      "The config of a model counts layers of which the files have no tensor; as a warning where none of them is merged, or where one layer lacks a part that all others have.",
    advice: "Fetch the model again.",
  },
  "recipe/layer-misfit": {
    means:
      "A layer of a stack has tensors that the model whose config the output has does not have in such a layer, or lacks some; as a warning where loaders ignore them or nobody can tell. Or a list of a quantiser names modules by a pattern that cannot be made to mean the same ones.",
    advice: "Take slices of models of one architecture; leave first layers first; write the modules of the list out.",
  },
  "recipe/layer-facts": {
    means:
      "A warning: the config says of layers what follows from their place, and no value of the key says what the stacked layers are; or layers that are merged with each other are of different kinds by their configs.",
    advice: "Look at the key in the output's `config.json`; line the ranges up.",
  },
  "recipe/module": {
    means: "A module of the recipe that the models do not have.",
    advice: "The hint names those they have.",
  },
  // what the models hold
  "recipe/ambiguous-name": {
    means:
      "A tensor of the base or first model could be either of several tensors of another model, whose names begin otherwise.",
    advice: "A file of two models in one. Rename the tensors of one of them.",
  },
  "recipe/missing-tensor": {
    means:
      "A model lacks a tensor that is required, an expert of a list, or the head that its class has and its config does not tie. As a warning: only the base has it, and it stays the base's.",
    advice: "Its architecture differs, or it was cut short.",
  },
  "recipe/adapter": {
    means:
      "Adapters and whole models are listed side by side, or `cat` and `svd` are given something other than plain adapters.",
    advice: "Write model+adapter to have an adapter applied.",
  },
  "recipe/adapter-mismatch": {
    means:
      "An adapter's modules or shapes are not those of the model before the +, or adapters that are merged do not fit each other.",
    advice: "Name the model it was trained on; for adapters of different rank or scale use `cat` or `svd`.",
  },
  "recipe/shape-mismatch": {
    means: "Tensors of one name have different shapes.",
    advice: "The models do not go together, or one was resized.",
  },
  "recipe/packed-weights": {
    means:
      "A model's weights are stored as codes (bitsandbytes, GPTQ, AWQ, MLX, MXFP4 and the like), which mean something only with what stands beside them; model, tensor and custom are named. Or packed models are to be stacked whose configs differ, or whose config names layers that move; or a stack would have fp8 codes in some layers and values, or codes of another custom, in others.",
    advice:
      "Merge the model that was packed, and pack the result. The hint says how to make values of codes where that can be done. `passthrough` without a scale copies packed weights whole.",
  },
  "recipe/dtype-mismatch": {
    means: "A tensor is of numbers in one model and of integers in another, or what is to be merged is integers.",
    advice: "Convert the model.",
  },
  "recipe/tensor-too-large": {
    means: "A tensor has more elements than random masks can number (2^34).",
    advice: "Choose a method without random masks.",
  },
  "recipe/embedding-rows": {
    means:
      "Embedding and output head of the output would have different numbers of rows (ends of a stack, an adapter that brings rows for one of the two); or a kind of model that has rows beyond its tokens (Mllama) would lose them.",
    advice: "Take both ends of the stack from models of one vocabulary; give an adapter with new rows both.",
  },
  "recipe/tokenizer": {
    means:
      "A model has no usable `tokenizer.json`, or no embedding is recognised; as a warning: its tokens are taken to be the base's.",
    advice: "Write one with `save_pretrained` of a fast tokenizer.",
  },
  "recipe/token": {
    means:
      "A token that the recipe names is not there; as a warning: no model has a row for it, and it is zero; it was cut; or the chat template or files of a slow tokenizer hold it, and the output has no row for it.",
    advice: "Name a source that has it.",
  },
  "recipe/token-conflict": {
    means: "Two models define one added token differently (special, normalized, …): a warning, the first counts.",
    advice: "Nothing, if the first is right.",
  },
  "recipe/token-id": {
    means:
      "config.json, generation_config.json or the tokenizer's settings name a special token that the output lacks. In the output it is the token that its tokenizer has for the same use, else null, or left out of a list; where a kind of config takes no null another special token stands in, or -1, which no token has.",
    advice: "`tokenizer_source: union` keeps the tokens of all models.",
  },
  "recipe/vocabulary-mismatch": {
    means:
      "Without a tokenizer key, one id names different tokens in two models: their rows would be mixed. As a warning: one of the models has a row and no token for the id of a token of the output, has tokens that the model lacks whose tokenizer the output has, or keeps the token in reserve, and the other has given it a name.",
    advice:
      "`tokenizer_source: union`, which keeps the tokens of all models. `--allow-vocabulary-mismatch` merges rows as they stand.",
  },
  "recipe/vocabulary-not-compared": {
    means:
      "A warning: of two models whose embeddings are merged, one has a tokenizer that cannot be read, or a tokenizer.json and the other only files for a slow tokenizer (or each has such of another kind) that write tokens in other ways, or whose ids all differ by one number. Nobody knows whether their rows are of the same tokens.",
    advice:
      "Give the model a tokenizer.json (`save_pretrained` of a fast tokenizer). Ignore it where the models are fine-tunes of one model.",
  },
  "recipe/vocabulary-size": {
    means:
      "Without a tokenizer key, embeddings have different numbers of rows: vocabularies of different sizes, or padding of different lengths; or the embedding is not that of the model which gives config and tokenizer. A warning with `--cut-embeddings`.",
    advice:
      "`tokenizer_source: union` or `base`; the hint says which. `--cut-embeddings` takes the rows that all have.",
  },
  "recipe/vocabulary-count": {
    means:
      "A warning: the config of the base, or first model, counts another number of tokens than its embedding has rows, and its kind of model is not known to do so by design. Programs that load models by their config refuse such a model. The output's config says the number of rows.",
    advice:
      "Nothing, if the model was meant to have these rows. Where its own code makes more rows than it counts tokens, put the count back.",
  },
  "recipe/table-count": {
    means:
      "A warning: the config of the base, or first model, counts another number of positions, kinds of tokens or classes than its tables have rows (`max_position_embeddings`, `type_vocab_size`, `id2label`). Programs that load models by their config refuse such a model. The output's config says what the tables have, where it is clear which count is meant; names of classes are not made up.",
    advice: "Correct the config of the model, or of the output.",
  },
  "recipe/tokenizer-files": {
    means:
      "A warning: of the tokenizer that the output takes over, tokenizer.json and a file of a slow tokenizer (tokenizer.model, vocab.json, vocab.txt, tekken.json) have different tokens, or other ids for them. Special and added tokens aside, and ids that all differ by one number.",
    advice: "Programs read one of the two. Remove the wrong file from the model, or from the output.",
  },
  "recipe/tensor-cut": {
    means: "With `--cut-embeddings` an embedding is cut to the rows that all models have.",
    advice: "Tokens beyond them are lost; `tokenizer_source: union` keeps them.",
  },
  "recipe/leftover-quantization": {
    means:
      "config.json of the base, or first model, (or a file of a quantiser beside it) tells of codes, and the weights are plain values; or it tells of scales of a cache that the output lacks. The output's config does not say it.",
    advice:
      "Nothing, if the model was made values of. Where weights are to be quantised as they are loaded, put the key back.",
  },
  "recipe/tensor-skipped": {
    means: "A model, or a tensor, is left out.",
    advice: "The message says why.",
  },
  "recipe/integers-differ": {
    means: "Integer tensors are copied from the base or first model, and another has other values (a warning).",
    advice: "Look whether the models belong together: masks, ids and indices that differ mean different things.",
  },
  "recipe/tied-weights": {
    means:
      "Two stored tensors are one parameter by the config, and differ (a warning: each is merged by itself); or a model of a type that cannot be untied would be merged with one that has a head of its own.",
    advice: "Correct `tie_word_embeddings` in config.json, or merge models that are both tied or both not.",
  },
  "recipe/unused-model": {
    means: "Less than half of what the recipe takes of a model is used, or nothing at all.",
    advice: "Its architecture or size is another, or its adapter alters other layers: it would hardly be merged.",
  },
  "recipe/partly-used": {
    means: "Some of what the recipe takes of a model is not used; the share and the reasons are said.",
    advice: "A warning: look whether the rest matters.",
  },
  "recipe/zero-weight": {
    means:
      "A model has the weight or density 0 everywhere, or for some tensors by a filter (warnings: it contributes nothing there), or every model has (an error: the output would be zero).",
    advice: "Give it a weight, or leave it out.",
  },
  "recipe/unknown-architecture": {
    means:
      "No layers or no embedding are recognised, or models are of different types: tensors are merged by their names.",
    advice: "Check that these models belong together.",
  },
  // what lies beside the weights
  "recipe/files-left-behind": {
    means:
      "Files or folders beside the weights of the base, or first model, are not carried along, as no loader is known to need them; or code that `auto_map` names is not there; or that model has no config.json, or no tokenizer, though others have one, or its weights are called otherwise than the output's.",
    advice: "Copy into the output what it needs to be loaded.",
  },
  "recipe/code-carried": {
    means:
      "Python code that the config names is carried along; it runs where the output is loaded with `trust_remote_code`.",
    advice: "Read it, as you would the model's own.",
  },
  "recipe/weights-copied": {
    means: "Weights in folders that sentence-transformers' modules.json names are copied from one model, not merged.",
    advice: "Know it, or merge those files by themselves.",
  },
  "recipe/damaged-file": {
    means:
      "A file beside the weights that the output takes over (generation_config.json, a tokenizer's or a processor's file, …) is not the JSON that its name says: a warning with the file, the fault and its byte. It is copied as it stands, and what reads it fails.",
    advice: "Get the file again, or correct it at that byte.",
  },
  // lints
  "recipe/dead-condition": {
    means: "A condition's filter is part of no tensor's name, or comes after others that fit the same tensors.",
    advice: "Filters are parts of names, no patterns; the hint shows a name. Put the narrower condition first.",
  },
  "recipe/configs-disagree": {
    means:
      "The configs of models that are merged say that equal shapes mean different things (heads, rope, activation, norm, window, multipliers, experts per token, …), or their files say that they were written by different programs (`format`: `mlx` and `pt`), or adapters were trained on different models, or on another than the one they are put on.",
    advice: "Merge models of one family and setting; the output has the config of the base, or of the first model.",
  },
  "recipe/extrapolates": {
    means: "t of slerp lies outside 0 to 1: beyond the two models.",
    advice: "Write a share from 0 to 1, unless that is meant.",
  },
  "recipe/prunes-nothing": {
    means: "No density for a method that prunes.",
    advice: "Give one below 1, or 1 if that is meant.",
  },
  "recipe/opposed-weights": {
    means: "Weights of both signs with normalize.",
    advice: "`normalize: false`, or see that the sum is what you want.",
  },
  "recipe/large-gamma": {
    means: "gamma above 0.5.",
    advice: "It is the share of largest deltas that is dropped.",
  },
  "recipe/model-twice": {
    means: "A recipe names one model in two ways (`base` and `./base`), and it is taken for two.",
    advice: "Write both alike.",
  },
  "recipe/base-listed": {
    means: "The base among the models of a method of deltas.",
    advice: "Remove the entry.",
  },
} satisfies Explanations<"recipe">;

export type RecipeCode = keyof typeof recipeCodes;

/** Where something stands in the recipe's text; both count from 1. */
export interface TextPlace {
  readonly line: number;
  readonly column: number;
}

/** One thing that is wrong, or worth a warning, and where. */
export interface Fault extends TextPlace {
  readonly code: RecipeCode;
  /** What was found, with names and numbers, as a sentence without a full stop. */
  readonly message: string;
  /** What to do about it. */
  readonly hint: string;
  /** Name of the recipe as given by the user. */
  readonly file: string;
}

/** `recipe.yml:7:5: unknown key "densty", did you mean "density"?` */
export function formatFault(fault: Fault): string {
  return `${fault.file}:${fault.line}:${fault.column}: ${fault.message}`;
}

/** A recipe that cannot be merged. Carries all its faults; code and hint are those of the first. */
export class RecipeError extends CodedError<RecipeCode> {
  readonly faults: readonly Fault[];

  constructor(faults: readonly [Fault, ...Fault[]]) {
    super(faults[0].code, faults.map(formatFault).join("\n"), faults[0]);
    this.faults = faults;
  }
}

/** @throws RecipeError if there is any fault. */
export function checkFaults(faults: readonly Fault[]): void {
  const [first, ...others] = faults;
  if (first !== undefined) throw new RecipeError([first, ...others]);
}
