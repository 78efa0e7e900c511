"""Merges by mergekit, in the process of a Python that has one of its releases, with the random masks of deltaworks lent to it.

    python mergekit_run.py < request.json

The request, JSON: recipe (text), folder (from which its paths count), out (folder for the output), flags (options of mergekit's), cut
(whether embeddings are to be cut to the common vocabulary), seed (whose masks to lend; null: mergekit as it is).
Exit 3 where the release has no such method.
"""

import json
import os
import shutil
import sys
import tempfile

import numpy as np
import yaml

import float64


class Masks:
    """torch.bernoulli draws the words of ADR 0001, and argsort is made stable: mergekit's own depend on the order of execution."""

    def __init__(self, seed):
        self.seed = seed
        self.name = ""
        self.model = -1

    def lend(self):
        import torch
        from mergekit.merge_methods import generalized_task_arithmetic as gta

        sparsify, argsort = gta.sparsify, torch.argsort

        def counted(*args, **more):
            self.model += 1
            return sparsify(*args, **more)

        def drawn(p):
            words = float64.random_words(self.seed, self.name, self.model, p.numel()).reshape(p.shape)
            return torch.from_numpy((words < float64.threshold(p.numpy())).astype(np.float32)).to(p.dtype)

        if hasattr(gta, "GTATask"):  # 0.1.4
            self.named(gta.GTATask, "execute", lambda task: task.weight_info.name)
        else:
            self.named(gta.GeneralizedTaskArithmeticMerge, "merge_group", lambda _, group: group.metadata.name)
        gta.sparsify, torch.bernoulli = counted, drawn
        torch.argsort = lambda *args, **more: argsort(*args, stable=True, **more)

    def named(self, kind, method, name_of):
        """Notes the tensor's name before each call of kind.method."""
        original = getattr(kind, method)

        def noted(*args, **more):
            self.name = name_of(*args[: name_of.__code__.co_argcount])
            self.model = -1
            return original(*args, **more)

        setattr(kind, method, noted)


def merge(request):
    import torch
    from mergekit.config import MergeConfiguration
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

    torch.set_num_threads(1)
    if request["seed"] is not None:
        Masks(request["seed"]).lend()
    os.chdir(request["folder"])  # mergekit looks relative paths up from the working directory
    flags = dict(request["flags"])
    if request["cut"] and "unsafe_truncate_embeddings" in MergeOptions.model_fields:
        flags["unsafe_truncate_embeddings"] = True  # what 0.1.4 did unasked
    cache = tempfile.mkdtemp()
    try:
        options = MergeOptions(lora_merge_cache=cache, lora_merge_dtype="float32", quiet=True, **flags)
        recipe = MergeConfiguration.model_validate(yaml.safe_load(request["recipe"]))
        run_merge(recipe, request["out"], options=options, config_source=request["recipe"])
    finally:
        shutil.rmtree(cache, ignore_errors=True)


if __name__ == "__main__":
    try:
        merge(json.load(sys.stdin))
    except RuntimeError as error:
        if "Unimplemented merge method" in str(error):
            sys.exit(3)
        raise
