"""Merges by mergekit, in the process of a Python that has one of its releases, with the random masks of deltaworks lent to it.

    python mergekit_run.py < requests

A request a line, JSON: recipe (text), folder (from which its paths count), out (folder for the output), flags (options of mergekit's),
cut (whether embeddings are to be cut to the common vocabulary), seed (whose masks to lend; null: mergekit as it is). For each a line of
JSON is answered: null where it is merged, {"absent": true} where the release has no such method, {"failed": text} else.

Starting torch takes longer than any of the merges: it is started once, and each request has a fork of its own, so that what one lends
or sets the next one does not see.
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
    from mergekit.config import MergeConfiguration
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

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


def outcome(request):
    try:
        merge(request)
    except Exception as error:
        if "Unimplemented merge method" in str(error):
            return {"absent": True}
        said = [line for line in str(error).splitlines() if line.strip()]
        return {"failed": f"{type(error).__name__}: {said[-1] if said else ''}"}
    return None


def in_a_fork(request):
    """The outcome as a line of JSON; of a process that died without one, how it died."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.dup2(2, 1)  # what mergekit prints is not an answer
        with os.fdopen(writing, "w") as answer:
            json.dump(outcome(request), answer)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    _, status = os.waitpid(child, 0)
    return said or json.dumps({"failed": f"ended with status {status}"})


if __name__ == "__main__":
    import mergekit.merge  # noqa: F401  (with torch and transformers: what takes long)
    import torch

    torch.set_num_threads(1)
    for line in sys.stdin:
        print(in_a_fork(json.loads(line)), flush=True)
