/**
 * Keys of tokens of text under which a family's config class takes a number only, as transformers 5.24 declares them: a config with null
 * there is refused as it is loaded. By `model_type`, of the part or of what it is a part of.
 */
const numbersOnly: readonly { readonly types: RegExp; readonly keys: RegExp }[] = [
  { types: /^(?:cwm|emu3|mllama|modernbert-decoder|unispeech-sat)/, keys: /^bos_token_id$/ },
  { types: /^(?:qwen3_asr|unispeech-sat|vibevoice)/, keys: /^eos_token_id$/ },
  {
    types:
      /^(?:emu3|glm_image|gradium_phonon_tts|lasr|modernbert-decoder|nemotron3_5_asr|nemotron_asr|nomic_bert|parakeet|pocket_tts|qwen3_asr|saprot|step3p|unispeech-sat|vibevoice)/,
    keys: /^pad_token_id$/,
  },
  { types: /^modernbert-decoder/, keys: /^(?:cls|sep)_token_id$/ },
  { types: /^(?:eurobert|flaubert|muse_glimmer|saprot)/, keys: /^mask_token_id$/ },
  { types: /^splinter/, keys: /^question_token_id$/ },
  // An encoder's decoder must begin with something, whatever the family; XLM and its kin have no null at all.
  { types: /^/, keys: /^(?:t2u_)?decoder_start_token_id$|^(?:bos|eos|pad|unk|mask)_index$|^blank_token_id$/ },
];

/** Whether a config cannot do without an id of a token of text. `type`: its `model_type`; undefined for what is no model's config. */
export function needsTextId(type: string | undefined, key: string): boolean {
  return type !== undefined && numbersOnly.some(({ types, keys }) => types.test(type) && keys.test(key));
}
