"""Stacks layers of a small model of every configuration class, opens the result, and compares each layer with the one it came from."""
import argparse
import collections
import copy
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
warnings.filterwarnings("ignore")
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import torch  # noqa: E402
import transformers  # noqa: E402
from transformers import AutoConfig  # noqa: E402

from layers import differences, layer_stacks  # noqa: E402
from small_models import LAYERS, aliases, build, config_classes, small_model, stored_tensors  # noqa: E402
from vocabularies import survey  # noqa: E402

MAIN = os.environ.get("DELTAWORKS") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "dist", "cli", "main.js")
#: Which layers are stacked. The first keeps the first and the last layer in their places, the second moves everything, in the third what
#: comes round again still does.
STACKS = {"kept": [(0, 3), (1, 4), (3, LAYERS)], "moved": [(1, 4), (0, 3), (5, 7)], "twice": [(0, LAYERS), (0, LAYERS)]}


def write_model(folder, config_text, tensors):
    """Zeros, which take no room: only names and shapes are looked at."""
    os.makedirs(folder)
    with open(f"{folder}/config.json", "w") as file:
        file.write(config_text)
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in tensors.items():
        size = 2
        for width in shape:
            size *= width
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(f"{folder}/model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + at)


def recipe(stack, prefix):
    ranges = "".join(f"{{ sources: [{{ model: model, layer_range: [{first}, {end}] }}] }}, " for first, end in stack)
    if prefix is None:
        return f"merge_method: passthrough\nslices: [{ranges}]\n"
    return f"merge_method: passthrough\nmodules:\n  {prefix}: {{ slices: [{ranges}] }}\n  default: {{ models: [{{ model: model }}] }}\n"


class Merges:
    """Planned one after another by one process; or, to see that it makes no difference, merged by the command line."""

    def __init__(self, command_line):
        self.command_line = command_line
        self.process = None

    def merge(self, folder, text):
        out = f"{folder}/out"
        with open(f"{folder}/recipe.yml", "w") as file:
            file.write(text)
        if self.command_line:
            shutil.rmtree(out, ignore_errors=True)
            command = ["node", MAIN, "merge", "recipe.yml", "out", "--threads", "1"]
            done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
            code, said = done.returncode, done.stdout + done.stderr
        else:
            if self.process is None:
                script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "stack.mjs")
                self.process = subprocess.Popen(["node", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            self.process.stdin.write(json.dumps({"recipe": f"{folder}/recipe.yml", "out": out}) + "\n")
            self.process.stdin.flush()
            answer = json.loads(self.process.stdout.readline())
            code, said = answer["code"], answer["said"]
        return code, [line for line in said.splitlines() if line.startswith(("error", "warning"))], out


def read_shapes(folder):
    found = {}
    for name in os.listdir(folder):
        if not name.endswith(".safetensors"):
            continue
        with open(f"{folder}/{name}", "rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        found.update({key: tuple(value["shape"]) for key, value in header.items() if key != "__metadata__"})
    return found


def under_first_names(stored, model):
    """Tensors of a file, those that the model has under several names by the first of them."""
    names = aliases(model)
    return {names.get(name, name): shape for name, shape in stored.items()}


def source_layers(stack):
    return [layer for first, end in stack for layer in range(first, end)]


#: Warnings that say that layers are not what they were, and errors that refuse.
SAYS = re.compile(r"^(?:error|warning) (?:recipe/(?:layer-|shape-|missing-|module|embedding)|publish/layer-count)")


def outcome(merges, folder, model, stack_name, prefix, is_only):
    """What became of one stack: (kind, detail)."""
    stack = STACKS[stack_name]
    code, said, out = merges.merge(folder, recipe(stack, None if is_only else prefix))
    spoken = [line for line in said if SAYS.match(line)]
    if code != 0:
        return ("refused" if spoken else "failed"), " | ".join(said)[:400]
    try:
        config = AutoConfig.from_pretrained(out)
        opened = build(config, [type(model)])
    except Exception as error:
        kind = "said" if spoken else "silent"
        return kind, f"cannot be built: {type(error).__name__}: {error}".replace("\n", " ")[:300] + " || " + " | ".join(spoken)[:200]
    found = differences(model, opened, prefix, source_layers(stack))
    stored, wanted = under_first_names(read_shapes(out), opened), stored_tensors(opened)
    found += [f"lacks {name}" for name in wanted if name not in stored][:3]
    found += [f"has {name}" for name in stored if name not in wanted][:3]
    found += [f"{name}: {stored[name]} for {shape}" for name, shape in wanted.items() if stored.get(name, shape) != shape][:3]
    if spoken:
        return "said", "; ".join(found)[:300] + " || " + " | ".join(spoken)[:300]
    return ("silent", "; ".join(found)[:400]) if found else ("same", "")


def examine(model_type, folder, variants, merges, names=tuple(STACKS)):
    """Outcomes by stack and variant of one configuration class."""
    config, asked, model = small_model(model_type)
    if model is None:
        return {}, "no model class belongs to it"
    tensors = stored_tensors(model)
    stacks = layer_stacks(model, tensors, LAYERS)
    if not stacks:
        return {}, "no stack of layers"
    texts = config_texts(config, asked)
    results = {}
    for variant in variants:
        text = texts[variant]
        shutil.rmtree(f"{folder}/model", ignore_errors=True)
        write_model(f"{folder}/model", text, tensors)
        try:  # what is compared must be what the config gives
            again = build(AutoConfig.from_pretrained(f"{folder}/model"), [type(model)])
            if stored_tensors(again) != tensors:
                continue
        except Exception:
            continue
        for prefix in stacks[:3]:
            for name in names:
                results[f"{variant} {name} {prefix}"] = outcome(merges, folder, again, name, prefix, len(stacks) == 1)
    return results, "" if results else "its config does not give the model again"


def config_texts(config, asked):
    """config.json as it is saved today, with all that the family works out; and with only what differs from its defaults and no lists."""
    full = json.loads(config.to_json_string(use_diff=False))
    full["model_type"] = config.model_type
    bare = without_lists(json.loads(config.to_json_string(use_diff=True)), full)
    bare["model_type"] = config.model_type
    return {"full": json.dumps(full, indent=2), "bare": json.dumps(bare, indent=2)}


#: Lists that families work out where they are missing.
MADE = re.compile(r"layer_types$|block_types?$|^no_rope_layers$|^moe_layers$|indexer_types$|layers_block_type$|^stage_names$|^attention_layers$")


def without_lists(values, full):
    kept = {}
    for key, value in values.items():
        if MADE.search(key):
            continue
        kept[key] = without_lists(value, full) if isinstance(value, dict) else value
    return kept


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("types", nargs="*")
    parser.add_argument("--variants", default="full,bare")
    parser.add_argument("--stacks", default=",".join(STACKS))
    parser.add_argument("--json", help="writes what was found, in full, after every class")
    parser.add_argument("--resume", action="store_true", help="looks at no class again that --json has already")
    parser.add_argument("--found", nargs="*", help="what earlier runs wrote with --json, instead of looking; later ones count more")
    parser.add_argument("--command-line", action="store_true", help="merge with the command line: slower, and the same")
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--vocabularies", action="store_true", help="looks at counts of tokens and rows of embeddings instead")
    options = parser.parse_args()
    if options.found:
        table = {}
        for path in options.found:
            with open(path) as file:
                table.update(json.load(file))
        sys.exit(1 if summarise(table, docs=True) else 0)
    part, parts = map(int, options.part.split("/"))
    chosen = options.types or config_classes()[part::parts]
    table, merges = {}, Merges(options.command_line)
    if options.vocabularies:
        with tempfile.TemporaryDirectory() as folder:
            sys.exit(1 if survey(chosen, folder, merges, write_model) else 0)
    if options.resume and options.json and os.path.exists(options.json):
        with open(options.json) as file:
            table = json.load(file)
    with tempfile.TemporaryDirectory() as folder:
        for model_type in chosen:
            if model_type in table:
                continue
            try:
                results, why = examine(model_type, folder, options.variants.split(","), merges, options.stacks.split(","))
            except Exception as error:
                results, why = {}, f"cannot be built: {type(error).__name__}: {error}".replace("\n", " ")[:160]
            table[model_type] = {"results": results, "why": why}
            for key, (kind, detail) in results.items():
                if kind in ("silent", "failed") or options.types:
                    print(f"{kind:8} {model_type:28} {key}: {detail}", flush=True)
            if not results and options.types:
                print(f"{'none':8} {model_type:28} {why}", flush=True)
            if options.json:
                with open(f"{options.json}.new", "w") as file:
                    json.dump(table, file, indent=1)
                os.replace(f"{options.json}.new", options.json)
    sys.exit(1 if summarise(table, docs=not options.types and parts == 1) else 0)


ORDER = ("silent", "failed", "said", "refused", "same")
WORDS = {
    "same": "every layer as it came",
    "said": "some are not, and a warning says so",
    "refused": "refused, with the reason",
    "failed": "failed for another reason",
    "silent": "some are not, and nothing was said",
}
DOCS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "fidelity.md")


def summarise(table, docs):
    """The share of the classes in each outcome, by the worst of a class's stacks, and the classes that were not looked at, with why."""
    counts = {}
    for variant in ("full", "bare"):
        counts[variant] = collections.Counter()
        for entry in table.values():
            found = {kind for key, (kind, _) in entry["results"].items() if key.startswith(variant)}
            if found:
                counts[variant][next(kind for kind in ORDER if kind in found)] += 1
    sums = {variant: max(1, sum(counts[variant].values())) for variant in counts}
    stacked = {name: sum(any(f" {name} " in key for key in entry["results"]) for entry in table.values()) for name in STACKS}
    ways = ", ".join(f"{name} {count}" for name, count in stacked.items())
    lines = [f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}: {len(table)} configuration classes.", ""]
    lines += [f"Classes by the way in which they were stacked: {ways}.", ""]
    lines += ["| outcome | config.json as it is saved | without the lists that the class makes |", "|---|---:|---:|"]
    for kind in reversed(ORDER):
        cells = [f"{counts[v][kind]} ({100 * counts[v][kind] / sums[v]:.1f} %)" for v in ("full", "bare")]
        lines.append(f"| {WORDS[kind]} | {' | '.join(cells)} |")
    reasons = collections.defaultdict(list)
    for name, entry in table.items():
        if not entry["results"]:
            reasons[entry["why"].split(":")[0] or "its config does not give the model again"].append(name)
    for why, names in sorted(reasons.items()):
        lines += ["", f"Not looked at, for {why} ({len(names)}): {', '.join(f'`{name}`' for name in sorted(names))}."]
    text = "\n".join(lines)
    print(text)
    if docs:
        with open(DOCS) as file:
            before, _, rest = file.read().partition("<!-- layers:start -->\n")
        after = rest.partition("<!-- layers:end -->")[2]
        with open(DOCS, "w") as file:
            file.write(f"{before}<!-- layers:start -->\n{text}\n<!-- layers:end -->{after}")
    return counts["full"]["silent"] + counts["bare"]["silent"] + counts["full"]["failed"] + counts["bare"]["failed"]


if __name__ == "__main__":
    main()
