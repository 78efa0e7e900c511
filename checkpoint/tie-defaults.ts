/**
 * Whether a type of model ties its output head to its input embedding where its config does not say. From the config classes of
 * transformers 4.57.1 and 5.24.0; types of which the two say different things are left out.
 */
export function tiedByDefault(modelType: unknown): boolean | undefined {
  if (typeof modelType !== "string") return undefined;
  if (tied.has(modelType)) return true;
  return untied.has(modelType) ? false : undefined;
}

const tied: ReadonlySet<string> = new Set(
  (
    "albert aya_vision bart bert bert-generation big_bird bigbird_pegasus biogpt blenderbot blenderbot-small blip " +
    "blip_text_model bloom camembert canary cohere cohere2 cohere2_moe cohere2_vision cohere_compass_text convbert " +
    "cpmant ctrl data2vec-text deberta deberta-v2 deepseek_vl deepseek_vl_hybrid diffusion_gemma diffusion_gemma_text " +
    "distilbert electra ernie ernie4_5 ernie4_5_moe ernie4_5_vl_moe ernie4_5_vl_moe_text esm falcon falcon_mamba " +
    "flaubert flava florence2 fnet fun_asr_nano funnel gemma gemma2 gemma3 gemma3_text gemma3n gemma3n_text gemma4 " +
    "gemma4_assistant gemma4_text gemma4_unified gemma4_unified_assistant gemma4_unified_text glmasr got_ocr2 gpt2 " +
    "gpt_bigcode gpt_neo gpt_neox_japanese granite_docling granite_docling_text granite_speech granite_speech5_ctc " +
    "granite_speech_plus granite_swa gte hunyuan_vl hunyuan_vl_text hyperclovax_vision_v2 ibert internvl janus jetmoe " +
    "jina_embeddings_v3 kimi_k25 kosmos-2 kosmos-2.5 kosmos_2_5_text_model kosmos_2_text_model lara_mini layoutlm led " +
    "lfm2 lfm2_moe lfm2_vl lfm3 lfm3_vl lighton_ocr longformer longt5 lxmert m2m_100 mamba marian mbart " +
    "megatron-bert minicpm3 minicpm_ocr mistral3 mobilebert modernbert modernbert-decoder moonshine " +
    "moss_transcribe_diarize mpnet mpt mra mvp neomme nllb-moe nomic_bert nystromformer openai-gpt opt ovis2 " +
    "paddleocr_vl paddleocr_vl_text paligemma pegasus pegasus_x plbart pp_chart2table prophetnet qwen3_asr " +
    "recurrent_gemma roberta roberta-prelayernorm roc_bert roformer seamless_m4t seamless_m4t_v2 smollm3 " +
    "speech_to_text squeezebert starcoder2 switch_transformers t5 t5_gemma_module t5gemma t5gemma2 t5gemma2_decoder " +
    "t5gemma2_encoder t5gemma2_text trocr udop umt5 vaultgemma visual_bert voxtral_realtime whisper xglm xlm " +
    "xlm-roberta xlm-roberta-xl xlnet xmod yoso youtu zamba zamba2 zaya"
  ).split(" "),
);

const untied: ReadonlySet<string> = new Set(
  (
    "afmoe apertus apertus1p5 apertus1p5_text arcee aria_text axk1 axk2 bailing_hybrid bamba beam bitnet blt " +
    "blt_global_transformer blt_local_decoder chameleon codegen cohere_asr cohere_compass cosmos3_edge " +
    "cosmos3_edge_text cosmos3_omni cwm deepseek_ocr2 deepseek_ocr2_encoder deepseek_ocr2_text deepseek_v2 " +
    "deepseek_v3 deepseek_v32 deepseek_v4 diffllama doge dory dots1 dots3_note dots3_note_text emu3_text_model esmc " +
    "eurobert evolla exaone exaone4 exaone4_5 exaone_moe falcon_h1 fast_vlm flex_olmo flint fsmt fuyu git glm glm4 " +
    "glm46v glm4_moe glm4_moe_lite glm4v_moe_text glm5_next glm5_next_text glm_image glm_moe_dsa glm_ocr glmga " +
    "gpt_neox gpt_oss gptj granite granite4_vision granite4_vision_text granitemoe granitemoe_swa granitemoehybrid " +
    "granitemoeshared helium higgs_audio_v2 hrm_text hunyuan_v1_dense hunyuan_v1_moe hy_v3 hy_v4 hy_v4_vl " +
    "hy_v4_vl_text hyperclovax idefics idefics2 idefics3 internlm3 iquestcoder jais2 jamba kimi_linear kolibri1 " +
    "kyutai_speech_to_text laguna llama llama4 llama4_text llava_next llava_next_video llava_onevision longcat_flash " +
    "mamba2 mellum mimo_v2_flash minicpmv4_6 minicpmv4_7 minimax minimax_m2 minimax_m3_vl minimax_m3_vl_text " +
    "ministral ministral3 mistral mistral4 mistral_large4 mistral_large4_text mixtral mllama_text_model modernvbert " +
    "molmo2 molmo2_text moonshine_streaming moshi moshi_depth muse_glimmer_text muse_spark_text musicgen_decoder " +
    "musicgen_melody_decoder nanochat nemotron nemotron_h olmo olmo2 olmo3 olmo_hybrid olmoe openai_privacy_filter " +
    "persimmon phi phi3 phi4_multimodal phimoe pix2struct pix2struct_text_model pp_formulanet_text qianfan_ocr qwen2 " +
    "qwen2_5_omni_talker qwen2_moe qwen3 qwen3_5 qwen3_5_moe qwen3_5_moe_text qwen3_5_text qwen3_moe qwen3_next " +
    "qwen3_omni_moe_talker_code_predictor qwen3_omni_moe_talker_text qwen4_exp qwen4_exp_text reformer rwkv " +
    "sarvam_mla sarvam_moe seed_oss smolvlm solar_open stablelm step3p5 ultrabert ultravbert unlimited_ocr " +
    "unlimited_ocr_text video_llama_3 xlstm"
  ).split(" "),
);
