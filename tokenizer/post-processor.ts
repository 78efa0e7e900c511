import type { JsonObject } from "../checkpoint/index.ts";
import { isObject } from "./token-ids.ts";

/** What a tokenizer adds around every text, without tokens that have no row: their ids would be past the end of the embedding. */
export interface RowedProcessor {
  /** As tokenizer.json has it; null where nothing of it can be kept. */
  readonly processor: unknown;
  /** The tokens that it no longer adds. */
  readonly dropped: readonly string[];
}

export function rowedProcessor(processor: unknown, ids: ReadonlyMap<string, number>): RowedProcessor {
  if (!isObject(processor)) return { processor, dropped: [] };
  switch (processor.type) {
    case "Sequence":
      return ofSequence(processor, ids);
    case "TemplateProcessing":
      return ofTemplate(processor, ids);
    case "BertProcessing":
    case "RobertaProcessing":
      return ofPair(processor, ids);
    default:
      return { processor, dropped: [] };
  }
}

function ofSequence(processor: JsonObject, ids: ReadonlyMap<string, number>): RowedProcessor {
  const parts = listOf(processor.processors).map((part) => rowedProcessor(part, ids));
  const dropped = parts.flatMap((part) => part.dropped);
  if (dropped.length === 0) return { processor, dropped };
  const processors = parts.map((part) => part.processor).filter((part) => part !== null);
  return { processor: { ...processor, processors }, dropped };
}

/** Pieces are texts and names of special tokens; a name may stand for several. */
function ofTemplate(processor: JsonObject, ids: ReadonlyMap<string, number>): RowedProcessor {
  const special = isObject(processor.special_tokens) ? processor.special_tokens : {};
  const gone = new Map(
    Object.entries(special).flatMap(([name, entry]) => {
      const tokens = listOf(isObject(entry) ? entry.tokens : undefined).filter((token) => typeof token === "string");
      const rowless = (tokens.length > 0 ? tokens : [name]).filter((token) => !ids.has(token));
      return rowless.length > 0 ? [[name, rowless] as const] : [];
    }),
  );
  if (gone.size === 0) return { processor, dropped: [] };
  const isKept = (piece: unknown) => {
    const named = isObject(piece) && isObject(piece.SpecialToken) ? piece.SpecialToken.id : undefined;
    return typeof named !== "string" || !gone.has(named);
  };
  return {
    processor: {
      ...processor,
      single: listOf(processor.single).filter(isKept),
      pair: listOf(processor.pair).filter(isKept),
      special_tokens: Object.fromEntries(Object.entries(special).filter(([name]) => !gone.has(name))),
    },
    dropped: [...gone.values()].flat(),
  };
}

/** BERT and RoBERTa add two tokens, or nothing. */
function ofPair(processor: JsonObject, ids: ReadonlyMap<string, number>): RowedProcessor {
  const tokens = [processor.cls, processor.sep].map((pair) => listOf(pair)[0]);
  const dropped = tokens.filter((token): token is string => typeof token === "string" && !ids.has(token));
  return { processor: dropped.length > 0 ? null : processor, dropped };
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
