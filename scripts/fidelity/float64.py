"""The merge methods of the method reference (docs/methods.md), written for reading rather than for speed.

Deltas, variances and importances are float32, because masks are chosen by ranking exactly those bits;
everything else is float64 and rounded once at the end. numpy only. A float32 implementation that follows
the spec chooses the same masks and agrees with this within a few units in the last place.

    python float64.py RECIPE OUT.safetensors [--random-seed N] [--only SUBSTRING ...]
"""
import argparse, json, math, struct
from collections import namedtuple
from pathlib import Path

import numpy as np

F32, F64 = np.float32, np.float64


class MergeError(Exception):
    pass


# ---- random masks (ADR 0001) ---------------------------------------------------------------
def philox4x32(counter, key, rounds=10):
    """Philox4x32 (Salmon et al. 2011). counter: four arrays or ints, key: two ints, all 32 bits."""
    c = [np.atleast_1d(np.asarray(x, dtype=np.uint64)) for x in counter]
    k0, k1 = (int(k) for k in key)
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    for _ in range(rounds):
        p0, p1 = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(p1 >> half) ^ c[1] ^ np.uint64(k0), p1 & low, (p0 >> half) ^ c[3] ^ np.uint64(k1), p0 & low]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return [x.astype(np.uint32) for x in c]


def fnv1a64(text):
    h = 0xCBF29CE484222325
    for byte in text.encode("utf-8"):
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return h


def random_words(seed, name, model, count):
    """One 32-bit word for each of the first `count` elements of output tensor `name`."""
    groups, h = np.arange((count + 3) // 4), fnv1a64(name)
    words = philox4x32((groups, model, h & 0xFFFFFFFF, h >> 32), (seed & 0xFFFFFFFF, seed >> 32))
    return np.stack(np.broadcast_arrays(*words), axis=1).reshape(-1)[:count]


def threshold(p):
    """A word below this is kept: probability p, to within 2^-32."""
    return np.floor(np.asarray(p, F64) * 4294967296.0).astype(np.uint64)


# ---- masks ---------------------------------------------------------------------------------------
Context = namedtuple("Context", "seed name")  # what a random mask depends on, besides the model's index


def ascending(magnitude):
    """Flat indices, smallest first; of equals the lower index first."""
    return np.argsort(magnitude.reshape(-1), kind="stable")


def descending(magnitude):
    """Flat indices, largest first; of equals the lower index first."""
    return np.argsort(-magnitude.reshape(-1), kind="stable")


def chosen(shape, indices):
    mask = np.zeros(math.prod(shape), bool)
    mask[indices] = True
    return mask.reshape(shape)


def magnitude_mask(d, density, **_):
    return chosen(d.shape, descending(np.abs(d))[:int(density * d.size)]), None


def band_mask(d, density, gamma, drop_smallest, drop_largest, **_):
    if drop_smallest is not None or drop_largest is not None:
        gamma = drop_largest or 0
        density = 1 - (drop_smallest or 0) - gamma
    if density >= 1:
        return np.ones(d.shape, bool), None
    keep, top = int(density * d.size), int(gamma * d.size)
    bottom = max(0, d.size - keep - top)
    return chosen(d.shape, ascending(np.abs(d))[bottom:bottom + keep]), None


def random_mask(d, density, context, model, **_):
    words = random_words(context.seed, context.name, model, d.size)
    return (words < threshold(density)).reshape(d.shape), density


def ranked_random_mask(d, density, epsilon, window_size, context, model, **_):
    epsilon = epsilon if window_size is None else window_size / 2
    if density <= 0:
        return np.zeros(d.shape, bool), None
    if not (density - epsilon > 0 and density + epsilon < 1):
        raise MergeError(f"density {density} and epsilon {epsilon}: density - epsilon must be above 0, density + epsilon below 1")
    rows = np.abs(d).reshape(-1, d.shape[-1])
    width = rows.shape[1]
    rank = np.argsort(np.argsort(rows, axis=1, kind="stable"), axis=1, kind="stable").reshape(d.shape)
    r = np.arange(width, dtype=F64)
    p = (density - epsilon) + 2 * epsilon * r / (width - 1) if width > 1 else np.array([density], F64)
    words = random_words(context.seed, context.name, model, d.size).reshape(d.shape)
    return words < threshold(p)[rank], p[rank]


def rescale_factor(d, mask, keep_probability, mode):
    """What a masked delta is multiplied by: one number, or one per element for inverse_keep of DELLA."""
    if mode is None:
        return 1.0
    if mode == "inverse_keep":
        return 1.0 if keep_probability is None else 1 / keep_probability
    size = dict(l1=lambda x: np.abs(x).sum(), l2=lambda x: np.sqrt((x * x).sum()), linf=lambda x: np.abs(x).max())[mode]
    before, after = size(d.astype(F64)), size(np.where(mask, d, 0).astype(F64))
    return 1.0 if before < 1e-7 or after < 1e-7 else before / after


def elects_plus(terms):
    """The sign of the sum, on float32 accumulators of the positive and the negative terms in recipe order."""
    positive = negative = np.zeros_like(terms[0])
    for v in terms:
        positive = positive + np.where(v > 0, v, F32(0))
        negative = negative + np.where(v < 0, v, F32(0))
    return positive + negative >= 0


# ---- linear family and sparsified task vectors ----------------------------------------------------
def linear(inputs, g, base=None, **_):
    w = [i.p["weight"] for i in inputs]
    total = sum(w)
    if g["normalize"] and total == 0:
        raise MergeError("the weights sum to zero")
    out = sum(wi * i.x.astype(F64) for wi, i in zip(w, inputs))
    return out / total if g["normalize"] else out


def passthrough(inputs, g, **_):
    if len(inputs) != 1:
        raise MergeError("passthrough takes exactly one model")
    scale = inputs[0].p["scale"]
    return inputs[0].x.astype(F64) * (1 if scale is None else scale)


def task_vectors(inputs, g, base, mask, consensus, context):
    """d, mask, rescale, weight, consensus, sum, normalize, lambda, + b: all of ties, dare, breadcrumbs, della."""
    terms, weights = [], []
    for i in inputs:
        d, c = i.x.astype(F32) - base.astype(F32), i.p["weight"]
        if mask and (i.p["density"] < 1 or any(i.p.get(k) is not None for k in ("drop_smallest", "drop_largest"))):
            kept, probability = mask(d, context=context, model=i.index, **i.p)
            mode = (g["rescale_mode"] or "l1") if g["rescale"] else None
            c = c * rescale_factor(d, kept, probability, mode)
            d = np.where(kept, d, F32(0))
        terms.append((c, d))
        weights.append(i.p["weight"])
    if consensus:
        signed = [np.asarray(c).astype(F32) * d for c, d in terms]
        plus = elects_plus(signed)
        agrees = [np.where(plus, v > 0, v < 0) for v in signed]
        divisor = sum(np.where(a, w, 0.0) for a, w in zip(agrees, weights))
        divisor = np.where(divisor == 0, 1, divisor)
    else:
        agrees = [True] * len(terms)
        divisor = 1 if abs(sum(weights)) < 1e-8 else sum(weights)
    mixed = sum(np.where(a, c * d.astype(F64), 0) for a, (c, d) in zip(agrees, terms))
    return base.astype(F64) + g["lambda"] * (mixed / divisor if g["normalize"] else mixed)


# ---- geometry -------------------------------------------------------------------------------------
def norm(x):
    return np.sqrt((x * x).sum())


def slerp(inputs, g, base_is, **_):
    if len(inputs) == 1:
        return inputs[0].x.astype(F64)
    if len(inputs) != 2 or base_is is None:
        raise MergeError("slerp takes two models, one of them the base")
    first, second = inputs if base_is == 0 else inputs[::-1]
    v0, v1, t = first.x.astype(F64), second.x.astype(F64), g["t"]
    n0, n1 = norm(v0), norm(v1)
    dot = (v0 * v1).sum() / (n0 if n0 > 1e-8 else 1) / (n1 if n1 > 1e-8 else 1)
    if abs(dot) > 0.9995:
        return (1 - t) * v0 + t * v1
    theta = math.acos(dot)
    return math.sin((1 - t) * theta) / math.sin(theta) * v0 + math.sin(t * theta) / math.sin(theta) * v1


def nuslerp(inputs, g, base=None, **_):
    if len(inputs) != 2:
        raise MergeError("nuslerp takes two models besides the base")
    w0, w1 = (i.p["weight"] for i in inputs)
    t = 0.5 if abs(w0 + w1) < 1e-6 else w1 / (w0 + w1)
    b = 0 if base is None else base.astype(F64)
    v0, v1 = (i.x.astype(F64) - b for i in inputs)
    axis = None if g["nuslerp_flatten"] else 0 if g["nuslerp_row_wise"] else -1
    total = lambda x: x.sum(axis=axis, keepdims=True)
    unit = lambda v: v / np.maximum(np.sqrt(total(v * v)), 1e-7)
    theta = np.arccos(np.clip(total(unit(v0) * unit(v1)), -1, 1))
    sine = np.sin(theta)
    flat = np.abs(sine) < 1e-8
    safe = np.where(flat, 1, sine)
    c0 = np.where(flat, 1 - t, np.sin((1 - t) * theta) / safe)
    c1 = np.where(flat, t, np.sin(t * theta) / safe)
    return b + c0 * v0 + c1 * v1


def multislerp(inputs, g, base=None, **_):
    if len(inputs) == 1:
        return inputs[0].x.astype(F64)
    b = 0 if base is None else base.astype(F64)
    x = [i.x.astype(F64) - b for i in inputs]
    w = np.array([i.p["weight"] for i in inputs], F64)
    if g["normalize_weights"]:
        if w.sum() == 0:
            raise MergeError("the weights sum to zero")
        w = w / w.sum()
    eps, norms = g["eps"], [norm(v) for v in x]
    u = [v / (n + eps) for v, n in zip(x, norms)]
    mean = sum(wi * ui for wi, ui in zip(w, u))
    if norm(mean) < eps:
        if len(x) == 2:
            return b + w[0] * x[0] + w[1] * x[1]
        raise MergeError("the weighted directions cancel out")
    mean = mean / norm(mean)
    tangent = sum(wi * (ui - (ui * mean).sum() * mean) for wi, ui in zip(w, u))
    n = norm(tangent) + eps
    return b + (mean * math.cos(n) + tangent * (math.sin(n) / n)) * float(w @ np.array(norms))


def karcher(inputs, g, **_):
    if len(inputs) == 1:
        return inputs[0].x.astype(F64)
    x = [i.x.astype(F64) for i in inputs]
    norms, tol = [norm(v) for v in x], g["tol"]
    units = [v / n for v, n in zip(x, norms) if n > tol]
    if not units:
        return np.zeros_like(x[0])
    a = 1 / len(units)
    u = a * sum(units)
    u = units[0] if norm(u) < tol else u / norm(u)
    for _ in range(int(g["max_iter"])):
        tangent = np.zeros_like(u)
        for v in units:
            dot = min(1.0, max(-1.0, float((u * v).sum())))
            theta = math.acos(dot)
            if theta >= tol:
                tangent += a * (theta / math.sin(theta)) * (v - dot * u)
        n = norm(tangent)
        if n < tol:
            break
        u = math.cos(n) * u + math.sin(n) * tangent / n
        u = u / norm(u)
    return u * (sum(norms) / len(norms))


def model_stock(inputs, g, base, **_):
    if len(inputs) < 2:
        raise MergeError("model_stock needs a base and at least two models")
    b = base.astype(F64)
    x = [i.x.astype(F64) for i in inputs]
    total = (lambda v: v.sum(axis=-1, keepdims=True)) if g["filter_wise"] else (lambda v: v.sum())
    cosines = []
    for i in range(len(x)):
        for j in range(i + 1, len(x)):
            di, dj = x[i] - b, x[j] - b
            product = np.sqrt(total(di * di)) * np.sqrt(total(dj * dj))
            cosines.append(np.clip(total(di * dj) / np.maximum(product, 1e-6), -1, 1))
    c, n = sum(cosines) / len(cosines), len(x)
    below = 1 + (n - 1) * c
    t = np.where(below <= 1e-6, 0, n * c / np.where(below <= 1e-6, 1, below))
    return t * (sum(x) / n) + (1 - t) * b


# ---- selection and fusion --------------------------------------------------------------------------
def nearswap(inputs, g, base, **_):
    if len(inputs) != 1:
        raise MergeError("nearswap takes a base and one model")
    b, x = base.astype(F64), inputs[0].x.astype(F64)
    share = np.clip(g["t"] / np.maximum(np.abs(b - x), 1e-6), 0, 1)
    return share * x + (1 - share) * b


def arcee_fusion(inputs, g, base, **_):
    if len(inputs) != 1:
        raise MergeError("arcee_fusion takes a base and one model")
    d = inputs[0].x.astype(F32) - base.astype(F32)

    def softmax(v):
        e = np.exp(v - v.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True) + 1e-8

    p, q = softmax(inputs[0].x.astype(F64)), softmax(base.astype(F64))
    divergence = (p * np.log(p / q)).sum(axis=-1, keepdims=True).astype(F32)
    importance = np.abs(d) * divergence
    in_order = np.sort(importance.reshape(-1)).astype(F64)
    median, q1, q3 = (in_order[int(share * (d.size - 1))] for share in (0.5, 0.25, 0.75))
    keep = importance.astype(F64) >= median + 1.5 * (q3 - q1)
    return base.astype(F64) + np.where(keep, d, F32(0))


def sce(inputs, g, base, **_):
    d = [i.x.astype(F32) - base.astype(F32) for i in inputs]
    if g["select_topk"] < 1:
        mean = np.zeros_like(d[0])
        spread = np.zeros_like(d[0])  # Welford, so that equal deltas give exactly zero
        for n, v in enumerate(d, 1):
            off = v - mean
            mean = mean + off / F32(n)
            spread = spread + off * (v - mean)
        k = max(0, int(np.count_nonzero(spread) * g["select_topk"]))
        mask = chosen(spread.shape, descending(spread)[:k])
        d = [np.where(mask, v, F32(0)) for v in d]
    plus = elects_plus(d)
    d = [v.astype(F64) for v in d]
    w = [(v * v).mean() for v in d]
    w = [1 / len(d)] * len(d) if sum(w) < 1e-6 else [x / sum(w) for x in w]
    agrees = [np.where(plus, v > 0, v < 0) for v in d]
    mixed = sum(np.where(a, wi * v, 0) for a, wi, v in zip(agrees, w, d))
    return base.astype(F64) + mixed / np.maximum(sum(np.where(a, wi, 0) for a, wi in zip(agrees, w)), 1e-6)


def ram(inputs, g, base, plus=False, **_):
    d = [i.x.astype(F32) - base.astype(F32) for i in inputs]
    changed = [np.abs(v) > F32(g["epsilon"]) for v in d]
    count = sum(c.astype(int) for c in changed)
    out = base.astype(F64)
    for v, c in zip(d, changed):
        unique, shared = c & (count == 1), c & (count > 1)
        ratio = shared.sum() / max(unique.sum(), g["epsilon"])
        scale = 1 + g["r"] * min(max(ratio, 0), g["alpha"]) if plus else 1
        v = v.astype(F64)
        out = out + np.where(unique, v * scale, 0) + np.where(shared, v / np.maximum(count, 1), 0)
    return out


# ---- what each method takes --------------------------------------------------------------------------
REQUIRED = object()
Method = namedtuple("Method", "run per_tensor globals base")  # base: "apart" (not one of the x_i), "optional" (the same), "listed" (an x_i like the others)


def _sparse(mask, consensus, normalize, rescale, **extra):
    return Method(lambda inputs, g, base, context, **_: task_vectors(inputs, g, base, mask, consensus, context),
                  dict(weight=REQUIRED, density=1.0, **extra),
                  {"normalize": normalize, "rescale": rescale, "lambda": 1.0, "rescale_mode": None, "int8_mask": False}, "apart")


METHODS = {
    "linear": Method(linear, dict(weight=REQUIRED), dict(normalize=True), "listed"),
    "passthrough": Method(passthrough, dict(scale=None), {}, "listed"),
    "task_arithmetic": _sparse(None, False, False, False),
    "ties": _sparse(magnitude_mask, True, True, False),
    "dare_ties": _sparse(random_mask, True, False, True),
    "dare_linear": _sparse(random_mask, False, False, True),
    "breadcrumbs": _sparse(band_mask, False, False, False, gamma=0.01, drop_smallest=None, drop_largest=None),
    "breadcrumbs_ties": _sparse(band_mask, True, False, False, gamma=0.01, drop_smallest=None, drop_largest=None),
    "della": _sparse(ranked_random_mask, True, True, True, epsilon=0.15, window_size=None),
    "della_linear": _sparse(ranked_random_mask, False, False, True, epsilon=0.15, window_size=None),
    "slerp": Method(slerp, {}, dict(t=REQUIRED), "listed"),
    "nuslerp": Method(nuslerp, dict(weight=REQUIRED), dict(nuslerp_row_wise=False, nuslerp_flatten=True), "optional"),
    "multislerp": Method(multislerp, dict(weight=REQUIRED), dict(normalize_weights=True, eps=1e-8), "optional"),
    "karcher": Method(karcher, {}, dict(max_iter=10, tol=1e-5), "listed"),
    "model_stock": Method(model_stock, {}, dict(filter_wise=False), "apart"),
    "nearswap": Method(nearswap, {}, dict(t=REQUIRED), "apart"),
    "arcee_fusion": Method(arcee_fusion, {}, {}, "apart"),
    "sce": Method(sce, {}, dict(int8_mask=False, select_topk=1.0), "apart"),
    "ram": Method(ram, {}, dict(epsilon=1e-5), "apart"),
    "ramplus_tl": Method(lambda *a, **k: ram(*a, plus=True, **k), {}, dict(r=0.1, alpha=0.2, epsilon=1e-5), "apart"),
}
DELTA_METHODS = {name for name, m in METHODS.items() if m.globals.get("lambda") is not None}


# ---- checkpoints -----------------------------------------------------------------------------------
DTYPES = dict(F64=np.dtype("<f8"), F32=np.dtype("<f4"), F16=np.dtype("<f2"), BF16=np.dtype("<u2"), I64=np.dtype("<i8"))
NAMES = dict(float32="F32", float16="F16", bfloat16="BF16", float64="F64")


def read_safetensors(path):
    """{name: (dtype, array widened to float32)}"""
    raw = Path(path).read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    out = {}
    for name, h in json.loads(raw[8:8 + size]).items():
        if name != "__metadata__":
            lo, hi = (8 + size + o for o in h["data_offsets"])
            v = np.frombuffer(raw[lo:hi], DTYPES[h["dtype"]]).reshape(h["shape"])
            v = (v.astype(np.uint32) << 16).view(F32) if h["dtype"] == "BF16" else v.astype(F32)
            out[name] = (h["dtype"], v)
    return out


def rounded(x, dtype):
    """float64 to the output dtype, once, to nearest even; bf16 as uint16."""
    if dtype != "BF16":
        return np.asarray(x).astype(DTYPES[dtype])
    f = np.asarray(x, F64)
    near = f.astype(F32)  # then repair the double rounding: round to odd
    bits = near.view(np.uint32).copy()
    inexact = near.astype(F64) != f
    away = np.abs(near.astype(F64)) > np.abs(f)
    bits = np.where(inexact & away, bits - 1, bits)  # now truncated toward zero
    bits = np.where(inexact, bits | 1, bits).astype(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def write_safetensors(path, tensors):
    """{name: (dtype, array in storage form)}"""
    header, at, blobs = {"__metadata__": {"format": "pt"}}, 0, []
    for name, (dtype, v) in tensors.items():
        blob = np.ascontiguousarray(v).tobytes()
        header[name] = {"dtype": dtype, "shape": list(v.shape), "data_offsets": [at, at + len(blob)]}
        at += len(blob)
        blobs.append(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


class Model:
    """A Hugging Face directory, or `directory+adapter`."""

    def __init__(self, reference, root):
        path, _, adapter = reference.partition("+")
        self.path = Path(root) / path
        self.config = json.loads((self.path / "config.json").read_text())
        self.tensors = {}
        for f in sorted(self.path.glob("model*.safetensors")):
            self.tensors.update(read_safetensors(f))
        if adapter:
            self.adapt(Path(root) / adapter)
        self.layers = self.config.get("num_hidden_layers", self.config.get("n_layer"))

    def adapt(self, path):
        """W + (alpha/r) B A, float64 inside, one rounding to float32."""
        c = json.loads((path / "adapter_config.json").read_text())
        ab = {k: v.astype(F64) for k, (_, v) in read_safetensors(path / "adapter_model.safetensors").items()}
        for key, a in ab.items():
            if key.endswith(".lora_A.weight"):
                name = key.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
                rank = a.shape[0]
                alpha = next((v for k, v in c.get("alpha_pattern", {}).items() if name.endswith(k)), c["lora_alpha"])
                scale = alpha / (math.sqrt(rank) if c.get("use_rslora") else rank)
                delta = scale * (ab[key.replace("lora_A", "lora_B")] @ a)
                dtype, w = self.tensors[name + ".weight"]
                self.tensors[name + ".weight"] = (dtype, (w + (delta.T if c.get("fan_in_fan_out") else delta)).astype(F32))

    def vocabulary(self):
        """{token: id}, below vocab_size, and the added ones in order of id."""
        t = json.loads((self.path / "tokenizer.json").read_text())
        size = self.config["vocab_size"]
        vocab = {k: v for k, v in t["model"]["vocab"].items() if v < size}
        added = {a["content"]: a["id"] for a in sorted(t["added_tokens"], key=lambda a: a["id"]) if a["id"] < size}
        return {**vocab, **added}, added


# ---- recipes ----------------------------------------------------------------------------------------
def evaluate(setting, name, t):
    if isinstance(setting, str):
        try:
            return float(setting)  # YAML 1.1 reads 1e-3 as text
        except ValueError:
            return setting
    if setting is None or isinstance(setting, (int, float)):
        return setting
    if isinstance(setting, dict):
        setting = [setting]
    if all(isinstance(e, (int, float)) for e in setting):
        s = t * (len(setting) - 1)
        i = int(s)
        j, frac = min(len(setting) - 1, i + 1), s - i
        return (1 - frac) * setting[i] + frac * setting[j]
    for condition in setting:
        f = condition.get("filter")
        if f is None or f == "*" or f in name:
            return evaluate(condition["value"], name, t)
    return None


def parameter(key, name, t, scopes, default, required_by):
    for scope in scopes:
        if scope and key in scope:
            value = evaluate(scope[key], name, t)
            if value is not None:
                return value
    if default is REQUIRED:
        if required_by:
            raise MergeError(f"parameter {key} is missing for {required_by}, tensor {name}")
        return None
    return default


def split_layer(name):
    parts = name.split(".")
    for i, part in enumerate(parts):
        if part.isdigit() and 0 < i < len(parts) - 1:
            return ".".join(parts[:i + 1]), int(part)
    return None, None


def renumbered(name, layer):
    parts = name.split(".")
    i = next(i for i, p in enumerate(parts) if p.isdigit())
    return ".".join(parts[:i] + [str(layer)] + parts[i + 1:])


Input = namedtuple("Input", "x p index model")
EMBEDDINGS = ("model.embed_tokens.weight", "lm_head.weight", "transformer.wte.weight", "bert.embeddings.word_embeddings.weight",
              "cls.predictions.decoder.weight")


class Merge:
    """A recipe with `models` or `slices`, over models of one tower that all have the same tensors."""

    def __init__(self, recipe, root, seed=0):
        self.recipe, self.seed = recipe, seed
        self.method = METHODS[recipe["merge_method"]]
        self.base = recipe.get("base_model")
        self.models = {}
        self.root = root
        self.slices = recipe.get("slices") or [dict(sources=[dict(m) for m in recipe["models"]])]
        for s in self.slices:
            for source in s["sources"]:
                source.setdefault("layer_range", [0, self.model(source["model"]).layers])
        if self.base and recipe.get("models") and all(m["model"] != self.base for m in recipe["models"]):
            if recipe["merge_method"] not in ("linear", "passthrough"):
                self.slices[0]["sources"].append(dict(model=self.base, layer_range=[0, self.model(self.base).layers]))
        if self.base:
            self.model(self.base)
        self.first = self.base or self.slices[0]["sources"][0]["model"]
        out = recipe.get("out_dtype") or recipe.get("dtype")
        self.dtype = NAMES[out] if out else None
        tokens = recipe.get("tokenizer") or ({"source": recipe["tokenizer_source"]} if recipe.get("tokenizer_source") else None)
        self.tokens = tokens and Tokens(self, tokens)

    def model(self, reference):
        if reference not in self.models:
            self.models[reference] = Model(reference, self.root)
        return self.models[reference]

    def referenced(self):
        """Models in recipe order, the base first."""
        out = [self.base] if self.base else []
        for s in self.slices:
            for source in s["sources"]:
                if source["model"] not in out:
                    out.append(source["model"])
        return out

    def outputs(self):
        """(output name, slice, layer offset or None, t) of every output tensor."""
        names = list(self.model(self.first).tensors)
        plain = [n for n in names if split_layer(n)[1] is None]
        after = [n for n in plain if n.split(".")[-2] in ("norm", "lm_head", "ln_f") or n.startswith("cls.")]
        for n in plain:
            if n not in after:
                yield n, self.slices[0], None, 0
        at = 0
        for s in self.slices:
            lengths = {b - a for a, b in (x["layer_range"] for x in s["sources"])}
            if len(lengths) != 1:
                raise MergeError("all sources of a slice must have the same number of layers")
            length = lengths.pop()
            first = s["sources"][0]
            for j in range(length):
                for n in self.model(first["model"]).tensors:
                    if split_layer(n)[1] == first["layer_range"][0] + j:
                        yield renumbered(n, at + j), s, j, j / (length - 1) if length > 1 else 1
            at += length
        for n in after:
            yield n, self.slices[-1], None, 0

    def tensor(self, name, s, offset, t):
        """The merged tensor in float64, and the dtype to round it to."""
        base_model = s.get("base_model") or self.base
        scopes = [s.get("parameters"), self.recipe.get("parameters")]
        g = {k: parameter(k, name, t, scopes, v, "the merge") for k, v in self.method.globals.items()}
        embedding = name in EMBEDDINGS
        inputs, base, base_at, index = [], None, None, 0
        for source in s["sources"]:
            there = name if offset is None else renumbered(name, source["layer_range"][0] + offset)
            is_base = source["model"] == base_model
            apart = is_base and self.method.base in ("apart", "optional")
            p = {k: parameter(k, there, t, [source.get("parameters")] + scopes, v, None if is_base else source["model"])
                 for k, v in self.method.per_tensor.items()}
            if there not in self.model(source["model"]).tensors:
                index += not is_base
                continue
            _, x = self.model(source["model"]).tensors[there]
            if self.tokens and embedding:
                x = self.tokens.permuted(source["model"], there)
            if apart:
                base = x
            else:
                if is_base:
                    base_at = len(inputs)
                inputs.append(Input(x, p, index, source["model"]))
                index += 1
        shapes = {i.x.shape for i in inputs} | ({base.shape} if base is not None else set())
        if len(shapes) > 1:
            if embedding and self.recipe["merge_method"] in DELTA_METHODS:
                rows, cols = base.shape
                inputs = [i._replace(x=i.x[:rows, :cols]) for i in inputs]
            elif embedding:
                rows, cols = (min(x[k] for x in shapes) for k in (0, 1))
                inputs = [i._replace(x=i.x[:rows, :cols]) for i in inputs]
                base = None if base is None else base[:rows, :cols]
            elif self.recipe["merge_method"] in DELTA_METHODS:
                inputs = [i for i in inputs if i.x.shape == base.shape]
            else:
                raise MergeError(f"shapes differ for {name}: {sorted(shapes)}")
        first = self.model(base_model or s["sources"][0]["model"])
        there = name if offset is None else renumbered(name, s["sources"][0]["layer_range"][0] + offset)
        dtype = self.dtype or first.tensors.get(there, first.tensors.get(name))[0]
        if not inputs and base is not None:
            return base.astype(F64), dtype
        return self.method.run(inputs, g, base=base, base_is=base_at, context=Context(self.seed, name)), dtype

    def run(self, only=None):
        for name, s, offset, t in self.outputs():
            if not only or any(o in name for o in only):
                yield name, *self.tensor(name, s, offset, t)


class Tokens:
    """The output vocabulary, and each model's embedding rows in its order."""

    def __init__(self, merge, spec):
        self.merge, self.spec = merge, spec
        order = merge.referenced()
        self.vocabs = {m: merge.model(m).vocabulary() for m in order}
        source, first = spec.get("source", "union"), merge.first
        self.vocab = dict(self.vocabs[first if source in ("union", "base") else source][0])
        if source == "union":
            for normal in (True, False):
                for m in order:
                    full, added = self.vocabs[m]
                    for token in sorted(full, key=full.get):
                        if (token not in added) == normal:
                            self.vocab.setdefault(token, len(self.vocab))
        for token in spec.get("tokens") or {}:
            self.vocab.setdefault(token, len(self.vocab))
        self.size = len(self.vocab)
        pad = spec.get("pad_to_multiple_of")
        self.padded = -(-self.size // pad) * pad if pad else self.size

    def row(self, model, token, tensor):
        at = self.vocabs[model][0].get(token)
        return None if at is None else self.merge.model(model).tensors[tensor][1][at].astype(F64)

    def default(self, token, tensor):
        """The embedding for models that lack the token."""
        source = ((self.spec.get("tokens") or {}).get(token) or {}).get("source")
        models = list(self.vocabs)
        if isinstance(source, str):
            row = self.row(source, token, tensor)
            if row is None:
                raise MergeError(f"token {token} is not in {source}")
            return row
        if source and source["kind"] == "zero":
            return 0.0
        if source:
            at = source.get("token_id")
            at = self.vocabs[source["model"]][0][source["token"]] if at is None else at
            return self.merge.model(source["model"]).tensors[tensor][1][at].astype(F64)
        have = [m for m in models if token in self.vocabs[m][0]]
        if not have:
            return 0.0
        if len(have) > 1 and self.merge.base in have:
            have = [self.merge.base]
        return sum(self.row(m, token, tensor) for m in have) / len(have)

    def permuted(self, model, tensor):
        width = self.merge.model(model).tensors[tensor][1].shape[1]
        out = np.zeros((self.padded, width), F64)
        for token, at in self.vocab.items():
            force = ((self.spec.get("tokens") or {}).get(token) or {}).get("force")
            own = None if force else self.row(model, token, tensor)
            out[at] = self.default(token, tensor) if own is None else own
        out[self.size:] = out[:self.size].mean(axis=0)
        return out.astype(F32)


if __name__ == "__main__":
    import yaml
    cli = argparse.ArgumentParser()
    cli.add_argument("recipe")
    cli.add_argument("out")
    cli.add_argument("--random-seed", type=int, default=0)
    cli.add_argument("--only", nargs="*")
    cli = cli.parse_args()
    merge = Merge(yaml.safe_load(Path(cli.recipe).read_text()), Path(cli.recipe).parent, cli.random_seed)
    write_safetensors(cli.out, {n: (dtype, rounded(x, dtype)) for n, x, dtype in merge.run(cli.only)})
