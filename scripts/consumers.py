"""Loads merged checkpoints in transformers, as they are, and measures their perplexity on held-out text.

First the measure itself is checked: it must give the figures that examples/models/README.md states for the base. Then
the recipes of examples/recipes are merged, each output is opened with safetensors and with transformers, and its
perplexities are printed and put into docs/fidelity.md; then small random models of many families are merged, and their logits
compared with those of a merge in memory. Exit status 1 if a stated figure is missed or a checkpoint does
not load completely.
"""

import logging
import math
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # everything must come from the folders themselves
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")

import safetensors
import torch
import transformers

from consumer_logits import check_logits
from consumer_tokenizers import check_chat_templates, check_tokenizers

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "examples" / "models"
RECIPES = ROOT / "examples" / "recipes"
REPORT = ROOT / "docs" / "fidelity.md"

KINDS = ("python", "prose", "json", "c", "go")
WINDOW_TOKENS = 128
BATCH_WINDOWS = 32
MERGE_TOLERANCE = 0.005
# The base's figures are stated with two to four digits; half a unit of the last one, and a little for other kernels.
BASE_TOLERANCE = 0.002
BASE_FIGURES = {"python": 64.0, "prose": 70.29, "json": 3.83, "c": 31.56, "go": 42.74}


@dataclass(frozen=True)
class Merge:
    """A recipe to merge, its number of layers, and the perplexities that are stated for its result."""

    recipe: str
    layers: int = 6
    stated: dict[str, float] = field(default_factory=dict)


MERGES = (
    Merge("task-arithmetic-two", stated={"python": 57.0, "prose": 53.2}),
    Merge("task-arithmetic-four", stated={"python": 63.7, "prose": 61.0, "json": 4.31, "c": 33.1}),
    Merge("linear"),
    Merge("ties"),
    Merge("della"),
    Merge("passthrough-stack", layers=8),
    Merge("slerp"),
    Merge("model-stock"),
    Merge("breadcrumbs"),
    Merge("dare-ties"),
    Merge("tokenizer-union"),
    Merge("adapter", stated={"python": 89.26, "prose": 97.05, "json": 5.59, "c": 43.02, "go": 37.1}),
)


class ConsumerError(Exception):
    """A checkpoint that another program cannot use as it is."""


def main() -> int:
    torch.set_num_threads(2)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)

    faults: list[str] = []
    rows: list[tuple[str, dict[str, float]]] = []

    def measured(name: str, folder: Path, layers: int, stated: dict[str, float], tolerance: float) -> None:
        try:
            figures = perplexities(folder, layers)
        except Exception as error:  # one that does not load must not hide the others
            faults.append(f"{name}: {error}")
            return
        rows.append((name, figures))
        for kind, expected in stated.items():
            if abs(figures[kind] / expected - 1) > tolerance:
                faults.append(f"{name}: perplexity on {kind} is {figures[kind]:.2f}, stated is {expected}")

    measured("*tiny-base*", MODELS / "tiny-base", 6, BASE_FIGURES, BASE_TOLERANCE)
    for specialist in ("tiny-python", "tiny-prose"):
        measured(f"*{specialist}*", MODELS / specialist, 6, {}, 0)
    with tempfile.TemporaryDirectory(prefix="deltaworks-consumers-") as scratch:
        for merge in MERGES:
            output = Path(scratch) / merge.recipe
            run_merge(merge.recipe, output)
            measured(f"`{merge.recipe}`", output, merge.layers, merge.stated, MERGE_TOLERANCE)
        logits: dict[str, dict[str, float]] = {}
        for check in (check_tokenizers, check_chat_templates, check_logits):
            try:
                found = check(Path(scratch))
                print(f"{check.__name__}: {', '.join(found)}")
                if check is check_logits:
                    logits = found
            except Exception as error:
                faults.append(f"{check.__name__}: {error}")

    text = report(rows)
    differences = logits_report(logits)
    print(text)
    print(differences)
    for fault in faults:
        print(f"error {fault}", file=sys.stderr)
    if faults:
        return 1
    replace_region(REPORT, "consumers", text)
    replace_region(REPORT, "logits", differences)
    return 0


def run_merge(recipe: str, output: Path) -> None:
    program = ["node", str(ROOT / "dist" / "cli" / "main.js"), "merge", str(RECIPES / f"{recipe}.yml"), str(output)]
    subprocess.run([*program, "--quiet"], cwd=ROOT, check=True)


def perplexities(folder: Path, layers: int) -> dict[str, float]:
    check_safetensors(folder)
    model, loaded = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    for fault in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if loaded[fault]:
            raise ConsumerError(f"transformers reports {fault}: {sorted(map(str, loaded[fault]))[:3]}")
    if model.config.num_hidden_layers != layers:
        raise ConsumerError(f"config.json has {model.config.num_hidden_layers} layers, not {layers}")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    check_vocabulary(model, tokenizer)
    check_generation(model, tokenizer)
    return {kind: perplexity(model, tokenizer, kind) for kind in KINDS}


def check_safetensors(folder: Path) -> None:
    """Reads every tensor with the safetensors library itself."""
    for path in sorted(folder.glob("*.safetensors")):
        with safetensors.safe_open(path, framework="pt") as tensors:
            for name in tensors.keys():
                if not torch.isfinite(tensors.get_tensor(name).float()).all():
                    raise ConsumerError(f"{name} of {path.name} holds values that are not finite")


def check_vocabulary(model, tokenizer) -> None:
    """Config, embeddings and tokenizer agree, and every added token is one token of the text."""
    rows = {model.config.vocab_size, model.get_input_embeddings().weight.shape[0], model.get_output_embeddings().weight.shape[0]}
    highest = max(tokenizer.get_vocab().values())
    if len(rows) > 1 or highest >= min(rows):
        raise ConsumerError(f"vocab_size and embeddings have {sorted(rows)} rows, the highest id is {highest}")
    for id, token in tokenizer.added_tokens_decoder.items():
        encoded = tokenizer.encode(f"a {token} b", add_special_tokens=False)
        if encoded.count(id) != 1:
            raise ConsumerError(f"{token.content} is not encoded to {id}: {encoded}")


def check_generation(model, tokenizer) -> None:
    prompt = tokenizer("def main():", return_tensors="pt")
    written = model.generate(**prompt, max_new_tokens=8, do_sample=False, pad_token_id=0)
    if written.shape[1] <= prompt["input_ids"].shape[1]:
        raise ConsumerError("the model generates nothing")


def perplexity(model, tokenizer, kind: str) -> float:
    """Per token, in windows that do not overlap; the first token of each is not predicted, an incomplete last window is left out."""
    text = (MODELS / "heldout" / f"{kind}.txt").read_text(encoding="utf-8")
    ids = torch.tensor(tokenizer(text, add_special_tokens=False)["input_ids"])
    windows = ids[: len(ids) // WINDOW_TOKENS * WINDOW_TOKENS].view(-1, WINDOW_TOKENS)
    loss = 0.0
    with torch.no_grad():
        for batch in windows.split(BATCH_WINDOWS):
            logits = model(batch).logits[:, :-1].float()
            targets = batch[:, 1:]
            loss += torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum").item()
    return math.exp(loss / (windows.shape[0] * (WINDOW_TOKENS - 1)))


def report(rows: list[tuple[str, dict[str, float]]]) -> str:
    lines = [f"| checkpoint | {' | '.join(KINDS)} |", f"|---|{'---:|' * len(KINDS)}"]
    lines += [f"| {name} | {' | '.join(f'{figures[kind]:.2f}' for kind in KINDS)} |" for name, figures in rows]
    return "\n".join([*lines, "", versions()])


def logits_report(found: dict[str, dict[str, float]]) -> str:
    lines = ["| models | largest difference of a logit |", "|---|---|"]
    for name, merges in found.items():
        lines.append(f"| {name} | {', '.join(f'{merge} {value:.2g}' for merge, value in merges.items())} |")
    return "\n".join([*lines, "", versions()])


def versions() -> str:
    return f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}, float32 on the CPU."


def replace_region(path: Path, name: str, text: str) -> None:
    start, end = f"<!-- {name}:start -->", f"<!-- {name}:end -->"
    before, found, rest = path.read_text(encoding="utf-8").partition(start)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ConsumerError(f"{path.name} has no place for the table: add {start} and {end}")
    path.write_text(f"{before}{start}\n{text}\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
