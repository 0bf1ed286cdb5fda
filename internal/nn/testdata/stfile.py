"""Reads and writes safetensors files with the standard library and numpy."""

import json
import struct

import numpy as np


def load(path):
    """Return {name: float32 array} and the metadata of a file."""
    with open(path, "rb") as f:
        (n,) = struct.unpack("<Q", f.read(8))
        head, data = json.loads(f.read(n)), f.read()
    meta = head.pop("__metadata__", {})
    arrays = {}
    for name, e in head.items():
        assert e["dtype"] == "F32", e
        lo, hi = e["data_offsets"]
        arrays[name] = np.frombuffer(data[lo:hi], "<f4").reshape(e["shape"]).copy()
    return arrays, meta


def save(path, arrays):
    head, parts, at = {}, [], 0
    for name, a in arrays.items():
        raw = np.asarray(a, "<f4").tobytes()
        head[name] = {"dtype": "F32", "shape": list(a.shape), "data_offsets": [at, at + len(raw)]}
        parts.append(raw)
        at += len(raw)
    text = json.dumps(head).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(parts))
