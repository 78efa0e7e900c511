"""Merges small random models of many families and compares the logits of what transformers loads with those of a merge in memory.

Nothing of deltaworks is used for the expected side: both inputs are opened with transformers, their parameters are combined
in float32 with torch, and the model so made is run. Largest difference allowed: 1e-4, between logits of order 1.
"""

import json
import shutil
import subprocess
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).resolve().parent.parent
TOLERANCE = 1e-4

SMALL = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=4, num_attention_heads=4, vocab_size=96)
LLAMA = dict(**SMALL, num_key_value_heads=2, max_position_embeddings=64)
TOKENS = dict(bos_token_id=1, eos_token_id=2, pad_token_id=0)


def llama(tied: bool):
    return transformers.LlamaForCausalLM, transformers.LlamaConfig(**LLAMA, **TOKENS, tie_word_embeddings=tied)


FAMILIES = {
    "llama": llama(False),
    "llama-tied": llama(True),
    "qwen2": (transformers.Qwen2ForCausalLM, transformers.Qwen2Config(**LLAMA, **TOKENS, tie_word_embeddings=False)),
    "gpt2": (transformers.GPT2LMHeadModel, transformers.GPT2Config(n_embd=32, n_layer=4, n_head=4, vocab_size=96, n_positions=64, **TOKENS)),
    "bert": (transformers.BertForMaskedLM, transformers.BertConfig(**SMALL, max_position_embeddings=64, **TOKENS)),
    "t5": (transformers.T5ForConditionalGeneration, transformers.T5Config(d_model=32, d_kv=8, d_ff=64, num_layers=3, num_decoder_layers=3, num_heads=4, vocab_size=96, decoder_start_token_id=0)),
    "t5-untied": (transformers.T5ForConditionalGeneration, transformers.T5Config(d_model=32, d_kv=8, d_ff=64, num_layers=3, num_decoder_layers=3, num_heads=4, vocab_size=96, decoder_start_token_id=0, tie_word_embeddings=False)),
    "bart": (transformers.BartForConditionalGeneration, transformers.BartConfig(d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64, vocab_size=96, max_position_embeddings=64, decoder_start_token_id=2, **TOKENS)),
    "falcon": (transformers.FalconForCausalLM, transformers.FalconConfig(hidden_size=32, num_hidden_layers=3, num_attention_heads=4, vocab_size=96, **TOKENS)),
    "mixtral": (transformers.MixtralForCausalLM, transformers.MixtralConfig(**LLAMA, num_local_experts=4, num_experts_per_tok=2, **TOKENS)),
    "qwen3-moe": (transformers.Qwen3MoeForCausalLM, transformers.Qwen3MoeConfig(**LLAMA, head_dim=8, moe_intermediate_size=16, num_experts=4, num_experts_per_tok=2, **TOKENS)),
    "gemma2": (transformers.Gemma2ForCausalLM, transformers.Gemma2Config(**LLAMA, head_dim=8, query_pre_attn_scalar=8, sliding_window=16, **TOKENS)),
    "llava": (transformers.LlavaForConditionalGeneration, transformers.LlavaConfig(text_config=transformers.LlamaConfig(**LLAMA, **TOKENS), vision_config=transformers.CLIPVisionConfig(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14), image_token_index=95)),
    "gemma3": (transformers.Gemma3ForCausalLM, transformers.Gemma3TextConfig(**LLAMA, head_dim=8, query_pre_attn_scalar=8, sliding_window=16, **TOKENS)),
}
# Families whose layers are of more than one kind, and stacks of them: the config's facts about layers must follow.
STACKS = {"llama": [0, 1, 2, 1, 2, 3], "llama-tied": [0, 1, 1, 2, 3], "qwen2": [0, 1, 2, 2, 3], "gpt2": [0, 1, 2, 1, 2, 3], "bert": [0, 1, 1, 2, 3], "mixtral": [0, 1, 1, 2, 3], "gemma2": [0, 1, 0, 1, 2, 3], "gemma3": [0, 1, 2, 1, 2, 3]}


class LogitsError(Exception):
    """A checkpoint that computes something else than the recipe says."""


def made(family: str, seed: int, folder: Path):
    """A model of random weights, far enough from any other for its part in a merge to be seen, saved as transformers saves it."""
    kind, config = FAMILIES[family]
    torch.manual_seed(seed)
    model = kind(config.__class__.from_dict(config.to_dict())).float().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return opened(kind, folder)


def opened(kind, folder: Path):
    model, loaded = kind.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    for fault in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if loaded[fault]:
            raise LogitsError(f"{folder.name}: transformers reports {fault}: {sorted(map(str, loaded[fault]))[:3]}")
    return model.eval()


def logits(model) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    ids = torch.randint(3, 95, (2, 24), generator=generator)
    inputs = {"input_ids": ids}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = torch.randint(3, 95, (2, 16), generator=generator)
    with torch.no_grad():
        return model(**inputs).logits.float()


def merged(recipe: str, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_suffix(".yml")
    path.write_text(recipe, encoding="utf-8")
    program = ["node", str(ROOT / "dist" / "cli" / "main.js"), "merge", str(path), str(folder), "--quiet", "--threads", "1"]
    done = subprocess.run(program, cwd=folder.parent, capture_output=True, text=True)
    if done.returncode != 0:
        raise LogitsError(f"{folder.name}: exit {done.returncode}: {done.stderr.strip()[:300]}")


def in_memory(model, combine):
    """`combine(name, parameter)` gives each parameter its new values; shared ones are one and are set once."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(combine(name, parameter))
    return model


def parameters_of(model) -> dict[str, torch.Tensor]:
    return {name: tensor.float() for name, tensor in model.state_dict().items()}


def difference(name: str, ours, expected) -> float:
    a, b = logits(ours), logits(expected)
    if a.shape != b.shape:
        raise LogitsError(f"{name}: logits of shape {tuple(a.shape)}, expected {tuple(b.shape)}")
    worst = (a - b).abs().max().item()
    if not worst <= TOLERANCE:
        raise LogitsError(f"{name}: logits differ by {worst:.3g} (of {b.abs().max().item():.3g}); allowed are {TOLERANCE}")
    return worst


def check_family(family: str, scratch: Path) -> dict[str, float]:
    kind, _ = FAMILIES[family]
    a, b = (made(family, seed, scratch / f"{family}-{name}") for name, seed in (("a", 1), ("b", 2)))
    from_a, from_b = parameters_of(a), parameters_of(b)
    found = {}
    linear = {"models": [(f"{family}-a", 0.3), (f"{family}-b", 0.7)]}
    out = scratch / f"{family}-linear"
    merged(recipe_text("linear", **linear), out)
    expected = in_memory(opened(kind, scratch / f"{family}-a"), lambda name, _: 0.3 * from_a[name] + 0.7 * from_b[name])
    found["linear"] = difference(f"{family} linear", opened(kind, out), expected)
    out = scratch / f"{family}-task"
    merged(recipe_text("task_arithmetic", base=f"{family}-a", models=[(f"{family}-b", 0.4)]), out)
    expected = in_memory(
        opened(kind, scratch / f"{family}-a"), lambda name, _: from_a[name] + 0.4 * (from_b[name] - from_a[name])
    )
    found["task_arithmetic"] = difference(f"{family} task_arithmetic", opened(kind, out), expected)
    if family in STACKS:
        found["stack"] = check_stack(family, a, scratch)
    return found


def recipe_text(method: str, models, base: str | None = None) -> str:
    lines = [f"merge_method: {method}", "dtype: float32", *([f"base_model: {base}"] if base else []), "models:"]
    for model, weight in models:
        lines += [f"  - model: {model}", f"    parameters: {{weight: {weight}}}"]
    return "\n".join([*lines, "parameters: {normalize: false}", ""])


def layers_of(model):
    """The list of layers, wherever the family keeps it."""
    for module in model.modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == model.config.num_hidden_layers:
            return module
    raise LogitsError("no list of layers is found")


def check_stack(family: str, model, scratch: Path) -> float:
    """Layers in the order of the stack, each computing as in the model that it came from (its kind of attention included)."""
    kind, _ = FAMILIES[family]
    order = STACKS[family]
    out = scratch / f"{family}-stack"
    slices = "".join(f"  - sources: [{{model: {family}-a, layer_range: [{k}, {k + 1}]}}]\n" for k in order)
    merged(f"merge_method: passthrough\ndtype: float32\nslices:\n{slices}", out)
    ours = opened(kind, out)
    config = model.config.__class__.from_dict(model.config.to_dict())
    config.num_hidden_layers = len(order)
    if getattr(config, "layer_types", None):
        config.layer_types = [model.config.layer_types[k] for k in order]
    expected = kind(config).float().eval()
    with torch.no_grad():
        own = parameters_of(model)
        stacked = expected.state_dict()
        for name, tensor in stacked.items():
            parts = name.split(".")
            at = next((k for k, part in enumerate(parts) if part.isdigit()), None)
            source = name if at is None else ".".join([*parts[:at], str(order[int(parts[at])]), *parts[at + 1 :]])
            tensor.copy_(own[source])
    if len(layers_of(ours)) != len(order):
        raise LogitsError(f"{family} stack: {len(layers_of(ours))} layers are loaded, {len(order)} were written")
    return difference(f"{family} stack", ours, expected)


def check_tied_with_untied(scratch: Path) -> dict[str, float]:
    """A tied model and an untied one, in both orders: the head is merged from the tied one's embedding."""
    found = {}
    kind = transformers.LlamaForCausalLM
    tied, untied = "llama-tied-a", "llama-b"
    parts = {name: parameters_of(opened(kind, scratch / name)) for name in (tied, untied)}
    for first, second in ((tied, untied), (untied, tied)):
        out = scratch / f"mixed-{first}-first"
        merged(recipe_text("linear", [(first, 0.5), (second, 0.5)]), out)
        ours = opened(kind, out)
        expected = kind(llama(False)[1]).float().eval()
        in_memory(expected, lambda name, _: 0.5 * parts[first][name] + 0.5 * parts[second][name])
        found[f"{first} first"] = difference(out.name, ours, expected)
    return found


PREFIXES = {
    "gpt2": ("transformer.", transformers.GPT2LMHeadModel),
    "bert": ("bert.", transformers.BertForMaskedLM),
    "llama": ("model.", transformers.LlamaForCausalLM),
}


def check_prefixes(scratch: Path) -> dict[str, float]:
    """The second model's tensors without the prefix that the first one's have."""
    found = {}
    for family, (prefix, kind) in PREFIXES.items():
        bare = scratch / f"{family}-bare"
        shutil.copytree(scratch / f"{family}-b", bare)
        tensors = load_file(bare / "model.safetensors")
        save_file({name.removeprefix(prefix): tensor.clone() for name, tensor in tensors.items()}, bare / "model.safetensors", {"format": "pt"})
        out = scratch / f"{family}-other-prefix"
        merged(recipe_text("task_arithmetic", base=f"{family}-a", models=[(bare.name, 0.4)]), out)
        found[family] = difference(out.name, opened(kind, out), opened(kind, scratch / f"{family}-task"))
    return found


def check_fused_experts(scratch: Path) -> dict[str, float]:
    """One model per expert as the Hub has it, the other with the experts in one tensor as transformers 5 holds them."""
    found = {}
    for family in ("mixtral", "qwen3-moe"):
        kind, _ = FAMILIES[family]
        fused = scratch / f"{family}-fused"
        shutil.copytree(scratch / f"{family}-b", fused)
        model = opened(kind, scratch / f"{family}-b")
        save_file({name: tensor.clone().contiguous() for name, tensor in model.state_dict().items()}, fused / "model.safetensors", {"format": "pt"})
        out = scratch / f"{family}-mixed-layout"
        merged(recipe_text("task_arithmetic", base=f"{family}-a", models=[(fused.name, 0.4)]), out)
        found[family] = difference(out.name, opened(kind, out), opened(kind, scratch / f"{family}-task"))
    return found


CONTRADICTIONS = {
    "llama": {"vocab_size": 90},
    "gpt2": {"n_positions": 128},
    "bert": {"vocab_size": 100, "max_position_embeddings": 32, "type_vocab_size": 4},
    "bart": {"max_position_embeddings": 66},
    "llava": {"text_config": {"vocab_size": 90}},
}


def check_contradictions(scratch: Path) -> dict[str, float]:
    """The first model's config counts other rows than its tables have, and cannot be loaded; the output's counts what is there."""
    found = {}
    for family, wrong in CONTRADICTIONS.items():
        kind, _ = FAMILIES[family]
        first = scratch / f"{family}-contradicted"
        shutil.copytree(scratch / f"{family}-a", first)
        config = json.loads((first / "config.json").read_text(encoding="utf-8"))
        for key, value in wrong.items():
            config[key] = {**config[key], **value} if isinstance(value, dict) else value
        (first / "config.json").write_text(json.dumps(config), encoding="utf-8")
        out = scratch / f"{family}-counted"
        merged(recipe_text("linear", [(first.name, 0.3), (f"{family}-b", 0.7)]), out)
        found[family] = difference(out.name, opened(kind, out), opened(kind, scratch / f"{family}-linear"))
    return found


def check_logits(scratch: Path) -> dict[str, dict[str, float]]:
    """Every family and situation; all faults at once. @throws LogitsError"""
    results: dict[str, dict[str, float]] = {}
    faults: list[str] = []
    checks = [(family, lambda family=family: check_family(family, scratch)) for family in FAMILIES]
    checks += [
        ("tied with untied", lambda: check_tied_with_untied(scratch)),
        ("other prefix", lambda: check_prefixes(scratch)),
        ("experts in one tensor, and apart", lambda: check_fused_experts(scratch)),
        ("counts that contradict tables", lambda: check_contradictions(scratch)),
    ]
    for name, check in checks:
        try:
            results[name] = check()
        except Exception as error:
            faults.append(f"{name}: {error if isinstance(error, LogitsError) else repr(error)[:400]}")
    for name, found in results.items():
        print(f"{name}: {json.dumps({key: float(f'{value:.2g}') for key, value in found.items()})}")
    if faults:
        raise LogitsError("\n  ".join(["logits", *faults]))
    return results


if __name__ == "__main__":
    import tempfile

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="deltaworks-logits-") as folder:
        check_logits(Path(folder))
