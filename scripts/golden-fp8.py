"""Writes test/golden/fp8: small checkpoints of fp8 codes with scales, and what merging them must give, worked out in numpy.

Run by hand (python with numpy); a person reads the diff. The arithmetic is that of docs/recipe.md, "fp8 with scales", written
apart from the program: float32 operations one by one, so that codes, scales and values must agree to the bit.
"""

import json
import pathlib
import struct

import numpy as np

root = pathlib.Path(__file__).resolve().parent.parent / "test/golden/fp8"
f32 = np.float32


def e4m3_values():
    """The 127 magnitudes, by code."""
    out = []
    for code in range(127):
        exponent, fraction = code >> 3, code & 7
        out.append(fraction * 2.0**-9 if exponent == 0 else (1 + fraction / 8) * 2.0 ** (exponent - 7))
    return np.array(out)


VALUES = e4m3_values()


def decode(codes):
    return (np.where(codes & 0x80, -1, 1) * VALUES[codes & 0x7F]).astype(f32)


def encode(x):
    """Nearest, ties to the even code; |x| <= 448."""
    magnitude = np.abs(x.astype(np.float64))
    upper = np.clip(np.searchsorted(VALUES, magnitude), 1, 126)
    lower = upper - 1
    to_upper, to_lower = VALUES[upper] - magnitude, magnitude - VALUES[lower]
    take_upper = (to_upper < to_lower) | ((to_upper == to_lower) & (upper % 2 == 0))
    codes = np.where(take_upper, upper, lower).astype(np.uint8)
    return codes | np.where(np.signbit(x), 0x80, 0).astype(np.uint8)


def expand(scales, shape, block):
    return np.repeat(np.repeat(scales, block[0], 0), block[1], 1)[: shape[0], : shape[1]]


def dequantise(codes, scales, block):
    return decode(codes) * expand(scales.astype(f32), codes.shape, block)


def quantise(values, block):
    rows, columns = -(-values.shape[0] // block[0]), -(-values.shape[1] // block[1])
    scales = np.zeros((rows, columns), f32)
    for r in range(rows):
        for c in range(columns):
            amax = np.abs(values[r * block[0] : (r + 1) * block[0], c * block[1] : (c + 1) * block[1]]).max()
            scales[r, c] = 1 if amax == 0 else max(f32(2.0**-126), f32(amax) / f32(448))
    return encode(np.clip(values / expand(scales, values.shape, block), f32(-448), f32(448))), scales


def bf16(x):
    bits = x.astype(f32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bf16(bits):
    return (bits.astype(np.uint32) << 16).view(f32)


NAMES = {"F8_E4M3": np.uint8, "F32": f32, "BF16": np.uint16}


def write(path, tensors):
    """tensors: name -> (dtype, array of the dtype's bits)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, (dtype, array) in tensors.items():
        raw = np.ascontiguousarray(array.astype(NAMES[dtype])).tobytes()
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


# Two layers' worth of shapes: blocks cut short at both edges, one block, one a row, one for the tensor.
BLOCK = (128, 128)
MATRICES = {
    "model.layers.0.mlp.up_proj": ((200, 300), BLOCK, "weight_scale_inv"),
    "model.layers.0.self_attn.q_proj": ((64, 130), BLOCK, "weight_scale_inv"),
}
OTHERS = {
    "model.layers.0.mlp.up_proj": ((50, 70), (50, 70), "weight_scale"),
    "model.layers.0.self_attn.q_proj": ((20, 33), (1, 33), "weight_scale"),
}


def model(seed, matrices, scale_dtype):
    rng = np.random.default_rng(seed)
    tensors, values = {}, {}
    for name, (shape, block, suffix) in matrices.items():
        x = (rng.standard_normal(shape) * 0.05).astype(f32)
        x[0, 0] = 3.0  # an outlier: the other blocks' scales are far smaller
        if shape[0] > 128:
            x[128:, 256:] = 0  # a block of zeros
        codes, scales = quantise(x, block)
        stored = scales if scale_dtype == "F32" else bf16(scales)
        as_read = scales if scale_dtype == "F32" else from_bf16(stored)
        tensors[f"{name}.weight"] = ("F8_E4M3", codes)
        # One scale for a tensor is written as [1], as compressed-tensors does.
        tensors[f"{name}.{suffix}"] = (scale_dtype, stored.reshape(1) if block == shape else stored)
        values[f"{name}.weight"] = dequantise(codes, as_read, block)
    norm = bf16(rng.standard_normal(40).astype(f32))
    tensors["model.norm.weight"] = ("BF16", norm)
    values["model.norm.weight"] = from_bf16(norm)
    return tensors, values


def case(name, matrices, scale_dtypes, config):
    folder = root / name
    made = [model(7 * k + len(name), matrices, dtype) for k, dtype in enumerate(scale_dtypes)]
    for (tensors, _), label in zip(made, "ab"):
        write(folder / label / "model.safetensors", tensors)
        (folder / label / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    (a, b), weights = (made[0][1], made[1][1]), (f32(0.6), f32(0.4))
    merged = {key: weights[0] * a[key] + weights[1] * b[key] for key in a}
    write(folder / "expected-float32.safetensors", {key: ("F32", value) for key, value in merged.items()})
    fp8 = {}
    for module, (shape, block, suffix) in matrices.items():
        codes, scales = quantise(merged[f"{module}.weight"], block)
        fp8[f"{module}.weight"] = ("F8_E4M3", codes)
        fp8[f"{module}.{suffix}"] = ("F32", scales.reshape(1) if block == shape else scales)
    fp8["model.norm.weight"] = ("BF16", bf16(merged["model.norm.weight"]))
    write(folder / "expected-float8.safetensors", fp8)


quantization = {"quant_method": "fp8", "weight_block_size": [128, 128]}
case("blocks", MATRICES, ["F32", "BF16"], {"num_hidden_layers": 1, "torch_dtype": "bfloat16", "quantization_config": quantization})
compressed = {"quant_method": "compressed-tensors"}
case("tensor-and-rows", OTHERS, ["F32", "F32"], {"num_hidden_layers": 1, "torch_dtype": "bfloat16", "quantization_config": compressed})
