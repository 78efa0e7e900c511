"""Small models of every configuration class of transformers, built on the meta device: shapes without values."""
import copy
import gc
import importlib

import torch
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

LAYERS = 8
#: Keys that count the layers of a stack; other numbers of layers (of adapters, of convolutions) stay small as they are.
COUNTS = (
    "num_hidden_layers n_layer n_layers num_layers num_transformer_layers depth layers encoder_layers decoder_layers "
    "num_encoder_layers num_decoder_layers encoder_num_hidden_layers decoder_num_hidden_layers"
).split()
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts", "num_routed_experts")
#: What AutoModel classes are tried for a configuration, the first that knows it first.
HEADS = (
    "MODEL_FOR_CAUSAL_LM_MAPPING MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING MODEL_FOR_MASKED_LM_MAPPING "
    "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING MODEL_FOR_PRETRAINING_MAPPING MODEL_MAPPING"
).split()
TOO_LARGE = 100 << 20  # elements


def config_classes():
    """Names as in config.json, each once."""
    return sorted(CONFIG_MAPPING_NAMES)


def model_classes(config):
    """Those that may be built from a configuration: what the Auto classes name, then what its module has."""
    found = []
    for head in HEADS:
        mapping = getattr(modeling_auto, head, None)
        if mapping is not None and type(config) in mapping:
            named = mapping[type(config)]
            found += list(named) if isinstance(named, (tuple, list)) else [named]
    if not found:
        module = importlib.import_module(type(config).__module__.replace("configuration_", "modeling_"))
        own = [c for c in vars(module).values() if isinstance(c, type) and issubclass(c, PreTrainedModel)]
        found = [c for c in own if getattr(c, "config_class", None) is type(config) and not c.__name__.endswith("PreTrainedModel")]
        found.sort(key=lambda c: ("ForCausalLM" not in c.__name__, len(c.__name__)))
    return found


def default_config(model_type):
    """With few layers: what a family says of layers by itself is made for that number."""
    base = AutoConfig.for_model(model_type)
    cls = type(base)
    if model_type in OWN:
        return cls(**OWN[model_type]), OWN[model_type]
    facts = counts_of(base.to_dict())
    if "num_kv_shared_layers" in base.to_dict():
        facts["num_kv_shared_layers"] = 2
    attempts = [facts, {k: v for k, v in facts.items() if not isinstance(v, dict)}, {}]
    for attempt in attempts:
        try:
            return cls(**attempt), attempt
        except Exception:  # a family that wants its own lists beside the number
            continue
    return base, {}


def counts_of(values):
    """Only the numbers of layers, also of parts."""
    found = {}
    for key, value in values.items():
        if key in COUNTS and isinstance(value, int) and not isinstance(value, bool) and value > 1:
            found[key] = LAYERS
        elif isinstance(value, dict) and isinstance(value.get("model_type"), str):
            part = counts_of(value)
            if part:
                found[key] = {**part, "model_type": value["model_type"]}
    return found


#: Families whose default is no small model, or has no stack: what they are made of instead. Their widths stay.
OWN = {
    "nemotron_h": {
        "layers_block_type": "linear_attention moe linear_attention full_attention moe mlp linear_attention moe".split(),
        "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "mamba_num_heads": 4, "mamba_head_dim": 16,
        "n_groups": 2, "ssm_state_size": 16, "intermediate_size": 96, "moe_intermediate_size": 32, "moe_shared_expert_intermediate_size": 32,
        "vocab_size": 64,
    },
    "zamba2": {
        "layers_block_type": [["linear_attention", "hybrid"][layer in (2, 4, 6)] for layer in range(LAYERS)],
        "num_hidden_layers": LAYERS, "num_mem_blocks": 2, "use_shared_attention_adapter": True, "adapter_rank": 4, "hidden_size": 64,
        "num_attention_heads": 4, "n_mamba_heads": 4, "mamba_d_state": 16, "vocab_size": 64,
    },
    "lfm2_moe": {
        "layer_types": [["conv", "full_attention"][layer in (2, 5, 7)] for layer in range(LAYERS)],
        "num_hidden_layers": LAYERS, "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 96,
        "moe_intermediate_size": 32, "num_experts": 4, "vocab_size": 64,
    },
    "gpt_neo": {
        "attention_types": [[["global", "local"], LAYERS // 2]], "num_layers": LAYERS, "hidden_size": 64, "num_heads": 4, "vocab_size": 64,
    },
    "bamba": {
        "attn_layer_indices": [2, 5], "num_hidden_layers": LAYERS, "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2,
        "intermediate_size": 96, "mamba_n_heads": 4, "mamba_d_state": 16, "vocab_size": 64,
    },
    "granitemoehybrid": {
        "layer_types": [["linear_attention", "full_attention"][layer in (2, 5)] for layer in range(LAYERS)],
        "num_hidden_layers": LAYERS, "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 96,
        "mamba_n_heads": 4, "mamba_d_state": 16, "num_local_experts": 4, "num_experts_per_tok": 2, "vocab_size": 64,
    },
    "mamba2": {"num_hidden_layers": LAYERS, "hidden_size": 64, "num_heads": 4, "head_dim": 32, "n_groups": 2, "state_size": 16, "vocab_size": 64},
    "xlnet": {"n_layer": LAYERS, "d_model": 64, "n_head": 4, "d_inner": 128, "vocab_size": 64},
}

WIDTHS = ("size", "dim", "width", "channels", "rank", "intermediate", "inner", "head_dim", "ffn", "d_model", "d_ff", "d_kv", "n_embd", "n_inner", "hidden")
NO_WIDTHS = ("vocab", "image_size", "patch", "window", "kernel", "position", "group", "chunk", "block_size", "layers", "num_", "stride", "temporal", "conv_size", "batch", "factor")


def shrink(config, divisor):
    """Widths by one divisor, so that what divided still does; few experts, few tokens."""
    for key, value in list(vars(config).items()):
        if isinstance(value, PreTrainedConfig):
            shrink(value, divisor)
            continue
        if key.startswith("_") or isinstance(value, bool):
            continue
        if isinstance(value, int):
            if key in EXPERTS and value > 8:
                put(config, key, 8)
            elif "vocab_size" in key and value > 512:
                put(config, key, 512)
            elif key.endswith("_token_id") or key.endswith("_token_index"):
                if value >= 512:
                    put(config, key, 1)
            elif any(word in key for word in WIDTHS) and not any(word in key for word in NO_WIDTHS) and value >= 4 * divisor and value % divisor == 0:
                put(config, key, value // divisor)
        elif isinstance(value, (list, tuple)) and value and all(isinstance(v, int) and not isinstance(v, bool) for v in value):
            wide = any(word in key for word in ("intermediate_size", "hidden_sizes", "embed_dim")) and all(v % divisor == 0 for v in value)
            if wide:
                put(config, key, [v // divisor for v in value])
            elif key.endswith("token_id") and any(v >= 512 for v in value):
                put(config, key, 1)


def put(config, key, value):
    try:
        setattr(config, key, value)
    except Exception:
        pass


def build(config, classes=None):
    """The first of the classes that can be built; raises what the last of them raised."""
    failure = None
    for cls in classes or model_classes(config):
        own = copy.deepcopy(config)
        try:
            with torch.device("meta"):
                return cls._from_config(own)
        except Exception as error:
            failure = error
    raise failure or LookupError("no model class belongs to it")


def small_model(model_type):
    """The smallest that can be built: config, what was asked of it, model. Raises what the last attempt raised."""
    config, asked = default_config(model_type)
    if not model_classes(config):
        return config, asked, None
    failure = None
    for divisor in (1,) if model_type in OWN else (32, 16, 8, 4, 1):
        for more in ({}, LIKELY):
            small = copy.deepcopy(config)
            if divisor > 1:
                shrink(small, divisor)
            for key, value in more.items():
                if getattr(small, key, 0) is None or key in ALWAYS and hasattr(small, key):
                    put(small, key, value(small) if callable(value) else value)
            try:
                model = build(small)
            except Exception as error:
                failure = error
                continue
            if sum(p.numel() for p in model.parameters()) > TOO_LARGE:
                failure = ValueError(f"too large with widths divided by {divisor}")
                del model
                gc.collect()
                continue
            return small, asked, model
    raise failure


#: What some families cannot be built without, and do not have by themselves.
LIKELY = {
    "num_key_value_heads": lambda c: getattr(c, "num_attention_heads", None),
    "head_dim": lambda c: max(2, getattr(c, "hidden_size", 64) // max(1, getattr(c, "num_attention_heads", 1))),
    "pad_token_id": 0,
    "prediction_length": 8,
    "is_decoder": True,
    "moe_intermediate_size": lambda c: getattr(c, "intermediate_size", 32),
}
ALWAYS = ("is_decoder",)


def stored_tensors(model):
    """Names and shapes as they would be saved: of tensors that are one, the first name."""
    persistent = set(model.state_dict().keys())
    seen, found = set(), {}
    tensors = list(model.named_parameters(remove_duplicate=False)) + list(model.named_buffers(remove_duplicate=False))
    for name, tensor in tensors:
        if id(tensor) not in seen and name in persistent:
            seen.add(id(tensor))
            found[name] = tuple(tensor.shape)
    return found


def aliases(model):
    """Every name of a tensor that has several, with the name that is stored."""
    first, found = {}, {}
    for name, tensor in model.named_parameters(remove_duplicate=False):
        stored = first.setdefault(id(tensor), name)
        if stored != name:
            found[name] = stored
    return found
