"""Fills the tables of docs/fidelity.md that compare every golden case with mergekit and with a float64 reference.

    python fidelity.py [--only NAME ...] [--print] [--peer VERSION=PYTHON ...]

For each case of test/golden/cases: the merge by deltaworks as built in dist/, the same recipe by float64.py (float64 in
numpy, rounded once), and by releases of mergekit, each by the Python that has it, in float32 where it can run the recipe and its
result is determined. Exits with 1 where a case cannot be compared.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

import numpy as np
import yaml

import float64

# Parameters that mergekit would read past: what it then computes is another merge.
OWN_PARAMETERS = ("rescale_mode", "window_size", "drop_smallest", "drop_largest", "scope")
ROOT = Path(__file__).resolve().parents[2]
CASES = ROOT / "test" / "golden" / "cases"
MODELS = ROOT / "examples" / "models"


def recipe_of(folder):
    """The recipe with paths that the other programs find: models stand in examples/models."""
    return (folder / "recipe.yml").read_text().replace("../../models", str(MODELS))


def ours(folder, case, out):
    command = ["node", ROOT / "dist/cli/main.js", "merge", folder / "recipe.yml", out, "--quiet", "--models-root", MODELS,
               "--random-seed", str(case["random_seed"]), *case.get("options", [])]
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip().splitlines()[0])
    tensors = {}
    for file in sorted(Path(out).glob("*.safetensors")):
        tensors.update(float64.read_safetensors(file))
    return tensors


def reference(folder, case):
    merge = float64.Merge(yaml.safe_load(recipe_of(folder)), folder, case["random_seed"])
    return {name: (dtype, x) for name, x, dtype in merge.run()}


def ordered_bits(x, dtype):
    """Integers of which neighbours are neighbouring values of the dtype, for counting units in the last place."""
    if dtype == "BF16":
        bits = (np.ascontiguousarray(x, np.float32).view(np.uint32) >> 16).astype(np.int64)
        return np.where(bits & 0x8000, 0x8000 - bits, bits)
    bits = np.ascontiguousarray(x, np.float16).view(np.uint16).astype(np.int64)
    return np.where(bits & 0x8000, 0x8000 - bits, bits)


class Difference:
    """The largest differences over all tensors of a case."""

    def __init__(self):
        self.absolute = self.relative = 0.0
        self.elements = self.one = self.more = 0

    def add(self, dtype, a, b):
        diff = np.abs(a.astype(np.float64) - b.astype(np.float64))
        largest = float(np.abs(b).max(initial=0))
        self.absolute = max(self.absolute, float(diff.max(initial=0)))
        if largest > 0:
            self.relative = max(self.relative, float(diff.max(initial=0)) / largest)
        self.elements += a.size
        if dtype in ("BF16", "F16"):
            steps = np.abs(ordered_bits(a, dtype) - ordered_bits(b, dtype))
            self.one += int((steps == 1).sum())
            self.more += int((steps > 1).sum())

    def cells(self, narrow):
        last = f"{100 * self.one / max(1, self.elements):.3f} %" + (f", {self.more} by more" if self.more else "") if narrow else "–"
        return [f"{self.absolute:.1e}", f"{self.relative:.1e}", last]


def widened(x, dtype):
    """A float64 result rounded to the dtype, as float32."""
    stored = float64.rounded(x, dtype)
    return (stored.astype(np.uint32) << 16).view(np.float32) if dtype == "BF16" else np.asarray(stored, np.float32)


def compare(tensors, others, narrow):
    found = Difference()
    for name, (dtype, x) in others.items():
        if name not in tensors or tensors[name][1].shape != x.shape:
            raise RuntimeError(f"{name}: {'missing' if name not in tensors else tensors[name][1].shape} here, {x.shape} there")
        found.add(dtype, tensors[name][1], x)
    return found.cells(narrow)


def ids(out):
    """Token to id, of the tokenizer in an output; empty where there is none."""
    file = Path(out) / "tokenizer.json"
    if not file.exists():
        return {}
    tokenizer = json.loads(file.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    found = dict(vocabulary) if isinstance(vocabulary, dict) else {token: k for k, (token, _) in enumerate(vocabulary)}
    return found | {added["content"]: added["id"] for added in tokenizer.get("added_tokens", [])}


def in_our_order(theirs, our_ids, their_ids):
    """Their tensors with the rows of tokens where ours has them: the order of a Python set decides which id an added token gets there."""
    if our_ids.keys() != their_ids.keys() or our_ids == their_ids:
        return theirs
    rows = max(our_ids.values()) + 1
    order = np.arange(rows)
    for token, row in our_ids.items():
        order[row] = their_ids[token]
    moved = lambda x: np.concatenate([x[:rows][order], x[rows:]])
    return {name: (dtype, moved(x) if x.ndim == 2 and x.shape[0] >= rows else x) for name, (dtype, x) in theirs.items()}


class Peer:
    """A release of mergekit in a process of its own, which is asked one case after another."""

    def __init__(self, python):
        program = [python, str(Path(__file__).with_name("mergekit_run.py"))]
        self.process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def merge(self, request):
        print(json.dumps(request), file=self.process.stdin, flush=True)
        said = self.process.stdout.readline()
        if not said:
            raise RuntimeError(f"the process of mergekit ended with status {self.process.wait()}")
        return json.loads(said)

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def row(name, peers):
    folder = CASES / name
    case = json.loads((folder / "case.json").read_text())
    narrow = set(case["dtype"]) & {"BF16", "F16"}
    with tempfile.TemporaryDirectory() as out:
        tensors = ours(folder, case, out)
        our_ids = ids(out)
        truth = {n: (dtype, widened(x, dtype)) for n, (dtype, x) in reference(folder, case).items()}
        to_reference = compare(tensors, truth, narrow)
        to_peers = [cell for version, peer in peers.items() for cell in peer_cells(version, peer, folder, case, tensors, our_ids, narrow)]
    elements = sum(x.size for _, x in tensors.values())
    return [f"`{name}`", " ".join(case["dtype"]).lower(), f"{elements:,}", *to_reference, *to_peers]


def peer_cells(version, peer, folder, case, tensors, our_ids, narrow):
    about = case.get("mergekit") or {}
    if any(f"{name}:" in recipe_of(folder) for name in OWN_PARAMETERS):
        return ["own parameter", "–", "–"]
    flags = {k: v for k, v in about.get("flags", {}).items() if k != "lora_merge_dtype"}
    with tempfile.TemporaryDirectory() as out:
        answer = peer.merge({
            "recipe": recipe_of(folder),
            "folder": str(folder),
            "out": out,
            "flags": flags,
            "cut": "--cut-embeddings" in case.get("options", []),
            "seed": case["random_seed"] if about.get("masks") or case["method"].startswith(("dare", "della")) else None,
        })
        if answer is not None and answer.get("absent"):
            return ["not in the release", "–", "–"]
        if answer is not None:
            print(f"{case['name']} by {version}: {answer['failed']}", file=sys.stderr, flush=True)
            return ["cannot run", "–", "–"]
        theirs = {}
        for file in sorted(Path(out).glob("*.safetensors")):
            theirs.update(float64.read_safetensors(file))
        try:
            return compare(tensors, in_our_order(theirs, our_ids, ids(out)), narrow)
        except RuntimeError as error:  # other tensors than ours
            print(f"{case['name']} by {version}: {error}", file=sys.stderr, flush=True)
            return ["other tensors", "–", "–"]


def table(rows, peers):
    head = ["case", "dtype", "elements", "to float64: abs", "rel", "1 ulp"]
    for version in peers:
        head += [f"to mergekit {version}: abs", "rel", "1 ulp"]
    lines = ["| " + " | ".join(head) + " |", "|---|---|" + "---:|" * (len(head) - 2)]
    return "\n".join(lines + ["| " + " | ".join(cells) + " |" for cells in rows])


def main():
    cli = argparse.ArgumentParser()
    cli.add_argument("--only", nargs="*")
    cli.add_argument("--peer", action="append", default=[], metavar="VERSION=PYTHON")
    cli.add_argument("--print", action="store_true")
    cli = cli.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    peers = {version: Peer(python) for version, python in (peer.split("=", 1) for peer in cli.peer)}
    rows, failed = [], []
    for name in sorted(p.name for p in CASES.iterdir() if (p / "case.json").exists()):
        if cli.only and not any(part in name for part in cli.only):
            continue
        try:
            rows.append(row(name, peers))
            print(*rows[-1], file=sys.stderr, flush=True)
        except Exception as error:  # the other cases are compared all the same
            failed.append(name)
            traceback.print_exc()
            print(f"{name} failed: {error}", file=sys.stderr, flush=True)
    for peer in peers.values():
        peer.end()
    text = table(rows, peers)
    print(text)
    if not cli.print and not failed and not cli.only:
        page = ROOT / "docs" / "fidelity.md"
        before, rest = page.read_text().split("<!-- cases:start -->\n", 1)
        after = rest.split("<!-- cases:end -->", 1)[1]
        page.write_text(f"{before}<!-- cases:start -->\n{text}\n<!-- cases:end -->{after}")
    sys.exit(f"{len(failed)} failed: {' '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
