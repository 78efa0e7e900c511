export { chatTemplateNames, commonestTemplate, marksWithoutToken, maybeChatTemplate } from "./chat-templates.ts";
export {
  type NewToken,
  type OutputVocabulary,
  outputVocabulary,
  type TokenConflict,
  type VocabularyRequest,
} from "./output-vocabulary.ts";
export { type GatheredRows, type GatheringRequest, RowGathering, type RowOf, type TokenRule } from "./row-gathering.ts";
export { type SlowDifference, slowDifference } from "./slow-difference.ts";
export { rolesOf, type TokenIdChange, type TokenIds, tokenIdChanges } from "./token-ids.ts";
export {
  isReserved,
  mismatchOf,
  type NamedId,
  type TokenDifference,
  Vocabularies,
  type Vocabulary,
  type VocabularyMismatch,
} from "./vocabulary.ts";
export { rereadTokenizer, type WritingRequest, type WrittenTokenizer, writtenTokenizer } from "./written-tokenizer.ts";
