"""mergekit 0.1.4 in this process, with the random masks of deltaworks lent to it, so that its arithmetic can be compared."""
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import yaml

import float64


def lend_masks(seed):
    """torch.bernoulli draws the words of ADR 0001, and argsort is made stable: mergekit's own depend on the order of execution."""
    import torch
    from mergekit.merge_methods import generalized_task_arithmetic as gta

    originals = gta.GTATask.execute, gta.sparsify, torch.bernoulli, torch.argsort
    execute, sparsify, _, argsort = originals
    at = {}

    def named(self, tensors, **more):
        at.update(name=self.weight_info.name, model=-1)
        return execute(self, tensors, **more)

    def counted(*args, **more):
        at["model"] += 1
        return sparsify(*args, **more)

    def drawn(p):
        words = float64.random_words(seed, at["name"], at["model"], p.numel()).reshape(p.shape)
        return torch.from_numpy((words < float64.threshold(p.numpy())).astype(np.float32)).to(p.dtype)

    def restore():
        gta.GTATask.execute, gta.sparsify, torch.bernoulli, torch.argsort = originals

    gta.GTATask.execute, gta.sparsify, torch.bernoulli = named, counted, drawn
    torch.argsort = lambda *args, **more: argsort(*args, stable=True, **more)
    return restore


def merged(recipe, folder, flags, seed):
    """The output's tensors, by name. `seed`: lend the masks of that seed; None: mergekit as it is."""
    import torch
    from mergekit.config import MergeConfiguration
    from mergekit.io.tasks import LoaderCache
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

    torch.set_num_threads(1)
    LoaderCache().loaders.clear()
    here = os.getcwd()
    out = tempfile.mkdtemp()
    cache = tempfile.mkdtemp()
    restore = lend_masks(seed) if seed is not None else lambda: None
    os.chdir(folder)  # mergekit looks relative paths up from the working directory
    try:
        options = MergeOptions(lora_merge_cache=cache, lora_merge_dtype="float32", quiet=True, **flags)
        run_merge(MergeConfiguration.model_validate(yaml.safe_load(recipe)), out, options=options, config_source=recipe)
        tensors = {}
        for file in sorted(Path(out).glob("*.safetensors")):
            tensors.update(float64.read_safetensors(file))
        return tensors
    finally:
        restore()
        os.chdir(here)
        shutil.rmtree(out, ignore_errors=True)
        shutil.rmtree(cache, ignore_errors=True)
