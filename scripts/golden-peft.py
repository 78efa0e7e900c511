"""Writes test/golden/peft: adapters made by PEFT, and what PEFT's merge_and_unload makes of them in float32.

Run by hand, in a virtual environment with scripts/golden-peft-requirements.txt; a person reads the diff.
Each case: adapter/ (as save_pretrained wrote it), recipe.yml, expected.safetensors (the tensors that the adapter changes) and
case.json (versions, tolerance). peft-combined: two adapters and what add_weighted_adapter makes of them. Factors are random from a fixed seed; A and B alike, so that no product is zero.
"""

import json
import pathlib
import shutil
import sys

import peft
import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

root = pathlib.Path(__file__).resolve().parent.parent
models = root / "examples/models"
cases = root / "test/golden/peft"

LLAMA = r".*layers\.(0|3)\.self_attn\.(q|k)_proj|.*layers\.3\.mlp\.down_proj"


def configs():
    """Name, base, config, dtype in which A and B are stored."""
    common = dict(task_type="CAUSAL_LM", lora_dropout=0.0, bias="none")
    yield "plain", "tiny-base", LoraConfig(r=4, lora_alpha=6, target_modules=LLAMA, **common), torch.float32
    yield "patterns", "tiny-base", LoraConfig(
        r=4,
        lora_alpha=8,
        target_modules=LLAMA,
        rank_pattern={r"layers\.3\.self_attn\.q_proj": 2, "k_proj": 3},
        alpha_pattern={"0.self_attn.k_proj": 5, "k_proj": 9, r"^.*\.mlp\.down_proj": 1, "down_proj": 3},
        **common,
    ), torch.float32
    yield "rslora-saved", "tiny-base", LoraConfig(
        r=8, lora_alpha=4, use_rslora=True, target_modules=LLAMA, rank_pattern={"q_proj": 5}, modules_to_save=["norm"], **common
    ), torch.bfloat16
    yield "dora", "tiny-base", LoraConfig(
        r=4, lora_alpha=8, use_dora=True, target_modules=LLAMA, rank_pattern={"k_proj": 2}, **common
    ), torch.float32
    # Conv1D: PEFT sets fan_in_fan_out itself. c_proj of the attention is square: its shape does not tell.
    yield "fan-in-fan-out", "gpt2-base", LoraConfig(
        r=4, lora_alpha=8, fan_in_fan_out=True, target_modules=r".*h\.1\.attn\.c_(attn|proj)", **common
    ), torch.float32


def main():
    """All cases, or those that are named."""
    for name, base, config, dtype in configs():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        torch.manual_seed(1234)
        folder = cases / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        model = AutoModelForCausalLM.from_pretrained(models / base, dtype=torch.float32)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        tuned = get_peft_model(model, config)
        with torch.no_grad():
            for key, value in tuned.named_parameters():
                if "lora_" in key or "modules_to_save" in key:
                    scale = 0.2 if "lora_" in key else 1.0
                    value.copy_((torch.randn(value.shape) * scale).to(dtype).to(value.dtype))
        tuned.save_pretrained(folder / "adapter")
        store_as(folder / "adapter/adapter_model.safetensors", dtype)
        (folder / "adapter/README.md").unlink(missing_ok=True)
        strip_paths(folder / "adapter/adapter_config.json", base)
        merged = tuned.merge_and_unload().state_dict()
        changed = {key: value.contiguous() for key, value in merged.items() if not torch.equal(value, before[key])}
        save_file(changed, folder / "expected.safetensors", metadata={"format": "pt"})
        recipe = f"merge_method: passthrough\ndtype: float32\nmodels:\n  - model: ../../models/{base}+adapter\n"
        (folder / "recipe.yml").write_text(recipe)
        case = {
            "produced_by": "peft",
            "versions": {m.__name__: m.__version__ for m in (peft, transformers, torch)},
            "arithmetic": "float32",
            "changed": sorted(changed),
            "tolerance": {"atol": 1e-6, "rtol": 1e-5},
        }
        (folder / "case.json").write_text(json.dumps(case, indent=1) + "\n")
        print(name, sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()), "bytes", len(changed), "tensors")


def combinations():
    """Two adapters, and what PEFT's add_weighted_adapter makes of them: what the result adds to the weights."""
    folder = cases.parent / "peft-combined"
    shutil.rmtree(folder, ignore_errors=True)
    common = dict(task_type="CAUSAL_LM", target_modules=r".*layers\.0\.self_attn\.(q|k)_proj")
    configs = {"first": LoraConfig(r=4, lora_alpha=6, **common), "second": LoraConfig(r=2, lora_alpha=5, use_rslora=True, **common)}
    model = AutoModelForCausalLM.from_pretrained(models / "tiny-base", dtype=torch.float32)
    tuned = get_peft_model(model, configs["first"], adapter_name="first")
    tuned.add_adapter("second", configs["second"])
    torch.manual_seed(4321)
    with torch.no_grad():
        for key, value in tuned.named_parameters():
            if "lora_" in key:
                value.copy_(torch.randn(value.shape) * 0.2)
    tuned.save_pretrained(folder)
    for name in configs:
        (folder / name / "README.md").unlink(missing_ok=True)
        strip_paths(folder / name / "adapter_config.json", "tiny-base")
    (folder / "README.md").unlink(missing_ok=True)
    expected = {}
    for kind, options in {"cat": {}, "svd": {"svd_rank": 3}}.items():
        tuned.add_weighted_adapter(["first", "second"], [0.7, 1.3], kind, combination_type=kind, **options)
        for name, module in tuned.base_model.model.named_modules():
            if hasattr(module, "lora_A") and kind in module.lora_A:
                expected[f"{kind}.{name}"] = module.get_delta_weight(kind).detach().contiguous()
    save_file(expected, folder / "expected.safetensors", metadata={"format": "pt"})
    print("combined", sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()), "bytes", sorted(expected))


def store_as(path, dtype):
    """save_pretrained writes the dtype of the parameters; the values were rounded to `dtype` before."""
    from safetensors.torch import load_file

    save_file({key: value.to(dtype) for key, value in load_file(path).items()}, path, metadata={"format": "pt"})


def strip_paths(path, base):
    config = json.loads(path.read_text())
    config["base_model_name_or_path"] = f"../{base}"
    if isinstance(config.get("target_modules"), list):
        config["target_modules"].sort()
    path.write_text(json.dumps(config, indent=1) + "\n")


main()
if not sys.argv[1:]:
    combinations()
