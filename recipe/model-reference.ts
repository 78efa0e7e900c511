import { described, maybeValue, type ReadingContext, reportUnknownKeys } from "./context.ts";
import type { YamlMap, YamlNode, YamlScalar } from "./yaml.ts";

/** A model as the recipe names it. Equal texts, equal models. */
export interface ModelReference {
  /**
   * `path[@revision]`; where that could be read in two ways, JSON of the two parts. Of a model with an adapter the texts of both,
   * joined by "+"; of an adapter alone "+" and its text.
   */
  readonly text: string;
  /** A local directory or .safetensors file, or `owner/name` on the Hub. */
  readonly path: string;
  readonly revision?: string;
  /** A LoRA that is applied to the model while it is read. */
  readonly adapter?: ModelReference;
  /** It is the adapter in another reference. */
  readonly isAdapter?: true;
}

/** A model reference as it stands in YAML; undefined where it is faulty, which is then reported. */
export function maybeModelReference(node: YamlNode, context: ReadingContext): ModelReference | undefined {
  if (node.kind === "map") return fromMap(node, context);
  const text = maybePath(node, context);
  return text === undefined ? undefined : fromText(text, node, context);
}

function maybePath(node: YamlNode, { findings }: ReadingContext): string | undefined {
  if (node.kind === "scalar" && typeof node.value === "string" && node.value !== "") return node.value;
  const message = `${described(node)} stands where the path of a model is expected`;
  const hint = "Write a directory or owner/name; quote it if it looks like a number.";
  findings.fault("recipe/model-reference", node.place, message, hint);
  return undefined;
}

/** `path[@revision][+adapter[@revision]]` */
function fromText(text: string, { place }: YamlNode, { findings, isPath }: ReadingContext): ModelReference | undefined {
  if (/[+@]/.test(text) && isPath?.(text) === true) return reference(text, undefined);
  const parts = text.split("+");
  if (parts.length > 2) {
    const hint = 'One model takes one adapter. If "+" belongs to the path, write model: {model: {path: ...}}.';
    findings.fault("recipe/model-reference", place, `"${text}" holds ${parts.length - 1} "+", 1 is allowed`, hint);
    return undefined;
  }
  for (const part of parts) {
    const pieces = part.split("@");
    if (pieces.length <= 2 && pieces.every((piece) => piece !== "")) continue;
    const found = pieces.length > 2 ? `holds ${pieces.length - 1} "@", 1 is allowed` : "lacks a part";
    const hint = 'Write path[@revision]. If "@" belongs to the path, write model: {model: {path: ...}}.';
    findings.fault("recipe/model-reference", place, `"${part}" ${found}`, hint);
    return undefined;
  }
  const [model, adapter] = parts.map((part) => {
    const [path = "", revision] = part.split("@");
    return reference(path, revision);
  });
  return model === undefined || adapter === undefined ? model : withAdapter(model, adapter);
}

/** `{model: {path, revision?}, lora?, override_architecture?}`; `model` may also be text. */
function fromMap(node: YamlMap, context: ReadingContext): ModelReference | undefined {
  const { findings } = context;
  reportUnknownKeys(context, node, ["model", "lora", "override_architecture"]);
  const architecture = node.entries.get("override_architecture");
  if (architecture !== undefined && maybeValue(node, "override_architecture") !== undefined) {
    const message = '"override_architecture" has no effect: layers are found by the names of the tensors';
    findings.warning("recipe/no-effect", architecture.place, message, "Remove the key.");
  }
  const model = maybeValue(node, "model");
  if (model === undefined) {
    const message = 'a model given as a map needs the key "model"';
    findings.fault("recipe/missing-key", node.place, message, "Write model: {model: {path: ...}}.");
    return undefined;
  }
  const found = model.kind === "map" ? fromPathMap(model, context) : maybeModelReference(model, context);
  const loraNode = maybeValue(node, "lora");
  if (found === undefined || loraNode === undefined) return found;
  if (found.adapter !== undefined) {
    const message = `"${found.text}" has an adapter already, and "lora" names another`;
    findings.fault("recipe/model-reference", loraNode.place, message, "One model takes one adapter.");
    return undefined;
  }
  const adapter = loraNode.kind === "map" ? fromPathMap(loraNode, context) : maybeModelReference(loraNode, context);
  return adapter === undefined ? undefined : withAdapter(found, adapter);
}

/** Here "@" and "+" are parts of the path like others, as in mergekit. */
function fromPathMap(node: YamlMap, context: ReadingContext): ModelReference | undefined {
  const { findings } = context;
  reportUnknownKeys(context, node, ["path", "revision"]);
  const pathNode = maybeValue(node, "path");
  if (pathNode === undefined) {
    const message = 'a model given as a map needs the key "path"';
    findings.fault("recipe/missing-key", node.place, message, "Write model: {model: {path: ...}}.");
  }
  const path = pathNode && maybePath(pathNode, context);
  const revisionNode = maybeValue(node, "revision");
  if (revisionNode !== undefined && !isWord(revisionNode)) {
    const message = `${described(revisionNode)} stands where a revision is expected`;
    findings.fault("recipe/wrong-type", revisionNode.place, message, "Write a branch, a tag or a commit.");
    return undefined;
  }
  return path === undefined ? undefined : reference(path, revisionNode?.text);
}

/** A revision may look like a number: 1234567 is the beginning of a commit. */
function isWord(node: YamlNode): node is YamlScalar {
  return node.kind === "scalar" && node.text !== "";
}

function reference(path: string, revision: string | undefined): ModelReference {
  const ambiguous = /[@+]/.test(path) || /[@+]/.test(revision ?? "");
  if (revision === undefined) return { text: ambiguous ? JSON.stringify({ path }) : path, path };
  return { text: ambiguous ? JSON.stringify({ path, revision }) : `${path}@${revision}`, path, revision };
}

function withAdapter(model: ModelReference, adapter: ModelReference): ModelReference {
  const part = { ...adapter, text: `+${adapter.text}`, isAdapter: true } as const;
  return { ...model, text: `${model.text}${part.text}`, adapter: part };
}

/** The model alone. */
export function withoutAdapter(model: ModelReference): ModelReference {
  return model.adapter === undefined ? model : reference(model.path, model.revision);
}

/** The label of a model with its adapter, made of the labels of both. `labels`: of labelsFor. */
export function labelOf(model: ModelReference, labels: ReadonlyMap<string, string>): string {
  const found = [withoutAdapter(model), model.adapter].map((part) => (part && labels.get(part.text)) ?? "");
  return model.adapter === undefined ? (found[0] ?? "") : found.join("+");
}

export function sameModel(a: ModelReference | undefined, b: ModelReference | undefined): boolean {
  return a !== undefined && b !== undefined && a.text === b.text;
}

/**
 * Short unique names, by the text of the reference: the last part of the path, with `#2`, `#3` where that is taken.
 * They depend on the order of the references and on no directory above the model's own.
 */
export function labelsFor(references: readonly ModelReference[]): Map<string, string> {
  const labels = new Map<string, string>();
  const taken = new Set<string>();
  for (const { text, path } of references) {
    if (labels.has(text)) continue;
    const name = path.split(/[/\\]/).findLast((part) => part !== "" && part !== "." && part !== "..") ?? "model";
    let label = name;
    for (let n = 2; taken.has(label); n++) label = `${name}#${n}`;
    taken.add(label);
    labels.set(text, label);
  }
  return labels;
}
