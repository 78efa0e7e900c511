"""Which modules of a model are stacks of layers, and whether one layer is as another."""
import re

import torch

#: What a module keeps of its own place; all else is what it is. (`store_full_length_kv`: the last of a type keeps what layers that share
#: would read; whether any do is told by `is_kv_shared_layer`.)
PLACES = re.compile(r"(?:^|_)(?:layer_idx|layer_id|layer_number|layer_index|idx|index|layer_num|num_layer|unique_layer_id|depth_idx|cache_key|place|store_full_length_kv)$|^training$|^_")

#: What matters in training only: chances to leave layers out, which grow with depth.
CHANCES = re.compile(r"drop_?path|layer_?drop", re.IGNORECASE)


PARTS = re.compile(r"(^|\.)(?:layer_norm1|ffns|layer_norm2)$")


def layer_stacks(model, tensors, count):
    """The beginnings of names before the number of a layer, of lists of `count` layers, those with most elements first."""
    numbers, sizes = {}, {}
    for name, shape in tensors.items():
        match = re.match(r"^(.*?)\.(\d+)\.(.*)$", name)
        if match is None:
            continue
        prefix = match.group(1)
        numbers.setdefault(prefix, set()).add(int(match.group(2)))
        size = 1
        for width in shape:
            size *= width
        sizes[prefix] = sizes.get(prefix, 0) + size
    found = []
    for prefix, layers in numbers.items():
        module = maybe_module(model, prefix)
        if layers == set(range(count)) and isinstance(module, torch.nn.ModuleList):
            found.append(prefix)
    # XLM's lists have a part of every layer each: they are one stack.
    found = [prefix for prefix in found if PARTS.sub(r"\1attentions", prefix) == prefix or PARTS.sub(r"\1attentions", prefix) not in found]
    return sorted(found, key=lambda prefix: -sizes[prefix])


def maybe_module(model, path):
    try:
        return model.get_submodule(path)
    except AttributeError:
        return None


def description(layer):
    """Of every module inside: its class and what it says of itself; of every tensor its shape."""
    found = {}
    for name, module in layer.named_modules():
        if CHANCES.search(name):
            continue
        found[f"{name} class"] = type(module).__name__
        for key, value in vars(module).items():
            if isinstance(value, (bool, int, float, str, type(None))) and not PLACES.search(key):
                found[f"{name}.{key}"] = value
    for name, tensor in list(layer.named_parameters()) + list(layer.named_buffers()):
        found[f"{name} shape"] = tuple(tensor.shape)
    return found


def differences(model, opened, prefix, sources):
    """Of the layers of an opened model against those that they came from; and of what its config lists of them."""
    ours, theirs = model.get_submodule(prefix), opened.get_submodule(prefix)
    if len(theirs) != len(sources):
        return [f"{len(theirs)} layers instead of {len(sources)}"]
    found = []
    for place, source in enumerate(sources):
        was, now = description(ours[source]), description(theirs[place])
        for key in was.keys() | now.keys():
            if was.get(key) != now.get(key):
                found.append(f"layer {place} from {source}: {key.strip()} is {now.get(key)}, was {was.get(key)}")
                break
    for config, other in config_pairs(ours, theirs, model.config, opened.config):
        for key in ("layer_types", "layers_block_type", "mlp_layer_types"):
            was, now = getattr(config, key, None), getattr(other, key, None)
            if not isinstance(was, (list, tuple)) or not isinstance(now, (list, tuple)):
                continue
            if len(was) == len(ours) and len(now) == len(sources) and list(now) != [was[source] for source in sources]:
                found.append(f"{key} is {list(now)}")
    return found


def config_pairs(ours, theirs, config, other):
    """The configs that the layers hold, or the models'."""
    held = [next((m.config for m in stack.modules() if hasattr(m, "config")), None) for stack in (ours, theirs)]
    return [tuple(held)] if None not in held else [(config, other)]
