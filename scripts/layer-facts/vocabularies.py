"""Copies a small model of every configuration class whose counts of tokens are all one number, and looks at what becomes of them."""
import copy
import gc
import json
import shutil

from transformers import PreTrainedConfig
from transformers.models.auto import modeling_auto

from small_models import HEADS, build, model_classes, put, small_model, stored_tensors

TOKENS = 1037  # no width of a small model


def count(config):
    for key, value in list(vars(config).items()):
        if isinstance(value, PreTrainedConfig):
            count(value)
        elif key.endswith("vocab_size") and isinstance(value, int) and not isinstance(value, bool) and value > 16:
            put(config, key, TOKENS)


def classes_of(config):
    found = []
    for head in HEADS:
        mapping = getattr(modeling_auto, head, {})
        named = mapping[type(config)] if type(config) in mapping else ()
        found += [cls for cls in (named if isinstance(named, (tuple, list)) else [named]) if cls not in found]
    return found or model_classes(config)[:1]


def counts_in(values, path=""):
    """Every count of tokens in a config.json, by its path."""
    found = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found.update(counts_in(value, f"{path}{key}."))
        elif ("vocab" in key or "position" in key) and isinstance(value, int):
            found[f"{path}{key}"] = value
    return found


def survey(model_types, folder, merges, write_model):
    """Models by design of more rows than their part of the config counts; what was told of a model or altered in it."""
    looked, beyond, wrong = 0, [], []
    for model_type in model_types:
        try:
            config = copy.deepcopy(small_model(model_type)[0])
        except Exception:
            continue
        count(config)
        for cls in classes_of(config):
            try:
                model = build(config, [cls])
            except Exception:
                continue
            looked += 1
            try:
                rows, tokens = model.get_input_embeddings().weight.shape[0], model.config.get_text_config().vocab_size
                if rows > tokens:
                    beyond.append(f"{model_type} {cls.__name__}: {rows} rows")
            except Exception:
                pass  # of no text
            for whole in (True, False):
                values = json.loads(model.config.to_json_string(use_diff=not whole))
                values["model_type"] = model.config.model_type
                shutil.rmtree(f"{folder}/model", ignore_errors=True)
                write_model(f"{folder}/model", json.dumps(values), stored_tensors(model))
                code, said, out = merges.merge(folder, "merge_method: passthrough\nmodels: [{ model: model }]\n")
                told = [line for line in said if any(f"recipe/{code}" in line for code in ("vocabulary-count", "table-count", "embedding-rows"))]
                before = counts_in(values)
                after = counts_in(json.load(open(f"{out}/config.json"))) if code == 0 else before
                altered = {key: after.get(key) for key in before if after.get(key) != before[key]}
                if told or altered:
                    wrong.append(f"{model_type} {cls.__name__} ({'whole' if whole else 'differences'}): {told} {altered}")
            del model
            gc.collect()
    print(f"{looked} models. More rows than are counted ({TOKENS}), by design:", *beyond, sep="\n  ")
    print("Told of, or altered:", *(wrong or ["none"]), sep="\n  ")
    return len(wrong)
