"""Merges models with tokenizers of every kind that transformers writes, and uses the results in transformers.

For each kind two small models are made: `one`, and `two`, whose tokenizer has other added tokens, in another order, and some
normal tokens of its own. They are merged with weight 0 for `one` and 1 for `two`, under the union of their vocabularies: so
whatever `two` can say must be encoded to ids whose rows are those of `two`, and what only `one` has keeps the row of `one`.
"""

import json
import subprocess
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

ROOT = Path(__file__).resolve().parent.parent
HIDDEN = 16
TEXTS = {
    "one": ["the cat sat on the mat", "the dog sat on the log", "a cat and a dog", "12 cats, 7 dogs"] * 4,
    "two": ["the parser reads the grammar", "a grammar of the parser", "reads and parses", "the parser of 12 grammars"] * 4,
}
ADDED = {"one": ["<|a|>", "<|both|>", "<|b|>"], "two": ["<|both|>", "<|c|>", "<|b|>"]}


class TokenizerError(Exception):
    """A merged tokenizer that does not fit the merged rows."""


def check_tokenizers(scratch: Path) -> list[str]:
    """Names of the kinds that were checked. Raises TokenizerError, or what transformers raises."""
    checked = []
    for kind, (train, build) in KINDS.items():
        folder = scratch / f"tokenizer-{kind}"
        for seed, name in enumerate(("one", "two")):
            save(train(TEXTS[name]), build, name, folder / name, seed)
        for padding in (1, 8):
            check_union(kind, build, folder, padding)
        checked.append(kind)
    return checked


def save(tokenizer: Tokenizer, build, name: str, folder: Path, seed: int) -> None:
    wrapped, make_model = build(tokenizer)
    wrapped.add_special_tokens({"additional_special_tokens": ADDED[name]})
    torch.manual_seed(seed)
    # `one` has padding rows, as many checkpoints have.
    model = make_model(len(wrapped) + (5 if name == "one" else 0))
    bias = getattr(model.get_output_embeddings(), "bias", None)
    if bias is not None:  # BERT's head has one element a token
        torch.nn.init.normal_(bias)
    model.save_pretrained(folder)
    wrapped.save_pretrained(folder)


def check_union(kind: str, build, folder: Path, padding: int) -> None:
    recipe = {
        "merge_method": "linear",
        "dtype": "float32",
        "tokenizer": {"source": "union", "pad_to_multiple_of": padding, "tokens": {"<|new|>": {"source": {"kind": "zero"}}}},
        "parameters": {"normalize": False},
        "models": [
            {"model": str(folder / "one"), "parameters": {"weight": 0}},
            {"model": str(folder / "two"), "parameters": {"weight": 1}},
        ],
    }
    path, output = folder / f"recipe-{padding}.yml", folder / f"merged-{padding}"
    path.write_text(json.dumps(recipe), encoding="utf-8")
    program = ["node", str(ROOT / "dist" / "cli" / "main.js"), "merge", str(path), str(output), "--quiet"]
    subprocess.run(program, cwd=ROOT, check=True)

    merged, tokenizer = load(output)
    (one, one_tokenizer), (two, two_tokenizer) = load(folder / "one"), load(folder / "two")
    rows = merged.get_input_embeddings().weight
    fail = lambda message: TokenizerError(f"{kind}, padding {padding}: {message}")
    ids = tokenizer.get_vocab()
    if rows.shape[0] != merged.config.vocab_size or rows.shape[0] % padding or max(ids.values()) >= rows.shape[0]:
        raise fail(f"{rows.shape[0]} rows, vocab_size {merged.config.vocab_size}, highest id {max(ids.values())}")
    if type(tokenizer) is not type(one_tokenizer):
        raise fail(f"a {type(tokenizer).__name__} is read, not a {type(one_tokenizer).__name__}")

    expected = {"<|new|>": torch.zeros(HIDDEN)}
    for model, source in ((one, one_tokenizer), (two, two_tokenizer)):
        for token, id in source.get_vocab().items():
            expected[token] = model.get_input_embeddings().weight[id]
    if set(ids) - set(expected) or set(expected) - set(ids):
        raise fail(f"tokens differ: {sorted(set(ids) ^ set(expected))[:5]}")
    for token, row in expected.items():
        if not torch.equal(rows[ids[token]], row):
            raise fail(f"row {ids[token]} is not that of {token!r}")

    biases = [getattr(model.get_output_embeddings(), "bias", None) for model in (one, two, merged)]
    if biases[2] is not None:
        for source, bias in ((one_tokenizer, biases[0]), (two_tokenizer, biases[1])):
            mine = {token: id for token, id in source.get_vocab().items() if source is two_tokenizer or token not in two_tokenizer.get_vocab()}
            if any(biases[2][ids[token]] != bias[id] for token, id in mine.items()):
                raise fail("the bias of the output head is not in the order of the rows")
    for token in ("<|a|>", "<|b|>", "<|c|>", "<|both|>", "<|new|>"):
        encoded = tokenizer.encode(f"the {token} cat", add_special_tokens=False)
        if encoded.count(ids[token]) != 1:
            raise fail(f"{token} is not encoded to {ids[token]}: {encoded}")
        if tokenizer.decode([ids[token]]).strip() != token:
            raise fail(f"{ids[token]} is decoded to {tokenizer.decode([ids[token]])!r}")
    # What the first model says is cut as before, but where a new token is made of its tokens; all of it comes back.
    for text in TEXTS["one"][:4] + TEXTS["two"][:4]:
        again = tokenizer.decode(tokenizer.encode(text, add_special_tokens=False))
        if again.replace(" ", "") != text.replace(" ", "") and tokenizer.unk_token not in again:
            raise fail(f"{text!r} comes back as {again!r}")
    new = set(two_tokenizer.get_vocab()) - set(one_tokenizer.get_vocab()) - set(ADDED["two"])
    reached = {token for text in TEXTS["two"] for token in tokenizer.tokenize(text)} & new
    if not reached:
        raise fail("no text is cut into a token that only the second model has")


CONVERSATION = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi"},
    {"role": "user", "content": "Bye"},
]
# What the built-in templates make of it, with the assistant's turn opened; <s> and </s> are the tokens of tiny-base.
RENDERED = {
    "alpaca": "Be brief.\n\n### Instruction:\nHello\n\n### Response:\nHi</s>\n\n### Instruction:\nBye\n\n### Response:\n",
    "chatml": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\nHi<|im_end|>\n"
    "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n",
    "llama3": "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nHello<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nHi<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    "mistral": "<s>[INST] Be brief.\n\nHello [/INST] Hi</s>[INST] Bye [/INST]",
    "exaone": "[|system|]Be brief.[|endofturn|]\n[|user|]Hello\n[|assistant|]Hi[|endofturn|]\n[|user|]Bye\n[|assistant|]",
    "auto": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\nHi<|im_end|>\n"
    "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n",
    "{% for m in messages %}{{ m.role[0] + m.content }}|{% endfor %}": "sBe brief.|uHello|aHi|uBye|",
}


def check_chat_templates(scratch: Path) -> list[str]:
    """Every built-in template, "auto" (only tiny-prose has one) and one that the recipe writes out."""
    models = ROOT / "examples" / "models"
    for k, (template, expected) in enumerate(RENDERED.items()):
        recipe = {
            "merge_method": "linear",
            "parameters": {"weight": 0.5},
            "models": [{"model": str(models / name)} for name in ("tiny-base", "tiny-prose")],
            "tokenizer_source": "base",
            "chat_template": template,
        }
        path, output = scratch / f"chat-{k}.yml", scratch / f"chat-{k}"
        path.write_text(json.dumps(recipe), encoding="utf-8")
        program = ["node", str(ROOT / "dist" / "cli" / "main.js"), "merge", str(path), str(output), "--quiet"]
        subprocess.run(program, cwd=ROOT, check=True)
        tokenizer = transformers.AutoTokenizer.from_pretrained(output)
        rendered = tokenizer.apply_chat_template(CONVERSATION, tokenize=False, add_generation_prompt=True)
        if rendered != expected:
            raise TokenizerError(f"chat template {template}: {rendered!r} instead of {expected!r}")
    return list(RENDERED)[:6]


def load(folder: Path):
    kind = transformers.AutoModelForCausalLM
    if json.loads((folder / "config.json").read_text())["model_type"] == "bert":
        kind = transformers.AutoModelForMaskedLM
    if json.loads((folder / "config.json").read_text())["model_type"] == "t5":
        kind = transformers.AutoModelForSeq2SeqLM
    model, info = kind.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    for fault in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info[fault]:
            raise TokenizerError(f"{folder.name}: transformers reports {fault}: {sorted(map(str, info[fault]))[:3]}")
    return model, transformers.AutoTokenizer.from_pretrained(folder)


def llama(rows: int):
    config = transformers.LlamaConfig(
        vocab_size=rows, hidden_size=HIDDEN, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2
    )
    return transformers.LlamaForCausalLM(config)


def gpt2(rows: int):
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=rows, n_embd=HIDDEN, n_layer=2, n_head=2, n_positions=64)
    )


def bert(rows: int):
    config = transformers.BertConfig(
        vocab_size=rows, hidden_size=HIDDEN, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2
    )
    return transformers.BertForMaskedLM(config)


def t5(rows: int):
    config = transformers.T5Config(
        vocab_size=rows, d_model=HIDDEN, d_kv=8, d_ff=32, num_layers=2, num_decoder_layers=2, num_heads=2
    )
    return transformers.T5ForConditionalGeneration(config)


def train_byte_level(texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|endoftext|>"]
    trainer = trainers.BpeTrainer(vocab_size=340, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def train_sentencepiece_bpe(texts: list[str]) -> Tokenizer:
    """As tokenizers of Llama 2 and Mistral are converted: byte fallback, and spaces as U+2581."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=340, special_tokens=special[:3], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    saved = json.loads(tokenizer.to_str())
    size = len(saved["model"]["vocab"])
    saved["model"]["vocab"].update({token: size + k for k, token in enumerate(special[3:])})
    tokenizer = Tokenizer.from_str(json.dumps(saved))
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


def train_word_piece(texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=90, special_tokens=special, show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def train_unigram(texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=60, special_tokens=special, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    return tokenizer


def fast(tokenizer: Tokenizer, name: str, **special):
    """The class that checkpoints of that family name, as AutoTokenizer reads it."""
    return getattr(transformers, name, transformers.PreTrainedTokenizerFast)(tokenizer_object=tokenizer, **special)


plain_tokens = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
bert_tokens = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}

KINDS = {
    "byte-level-bpe": (
        train_byte_level,
        lambda tokenizer: (fast(tokenizer, "PreTrainedTokenizerFast", eos_token="<|endoftext|>"), gpt2),
    ),
    "sentencepiece-bpe": (
        train_sentencepiece_bpe,
        lambda tokenizer: (fast(tokenizer, "PreTrainedTokenizerFast", **plain_tokens), llama),
    ),
    "word-piece": (
        train_word_piece,
        lambda tokenizer: (fast(tokenizer, "PreTrainedTokenizerFast", **bert_tokens), bert),
    ),
    "unigram": (
        train_unigram,
        lambda tokenizer: (
            fast(tokenizer, "PreTrainedTokenizerFast", pad_token="<pad>", eos_token="</s>", unk_token="<unk>"),
            t5,
        ),
    ),
}
