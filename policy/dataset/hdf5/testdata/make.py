"""Writes HDF5 files in the ways that h5py has, and what is in them.

Usage: /usr/bin/python3 make.py DIR [ROWS]     (Debian's python3-h5py)

The committed files are of the default number of rows.
"""
import json
import sys

import h5py
import numpy as np

out, rows = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
small = rows == 5
numbers, strings, attrs = {}, {}, {}


def put(g, name, data, **how):
    d = g.create_dataset(name, data=data, **how)
    if d.dtype.kind in "iufb":
        numbers[d.name] = {
            "shape": list(d.shape),
            "dtype": "int8" if d.dtype == bool else str(d.dtype.newbyteorder("=")),
            "values": [float(x) for x in np.asarray(data).reshape(-1).astype(np.float64)],
        }
    return d


def fill(f):
    global rng
    rng = np.random.default_rng(7)  # the same in every file
    a = rng.normal(size=(rows, 7))
    put(f, "contiguous", a)
    put(f, "float32", a.astype(np.float32))
    put(f, "float16", a.astype(np.float16))
    put(f, "big", a.astype(">f8"))
    for t in "i1 i2 i4 i8 u1 u2 u4 u8 >i2 >u4".split():
        put(f, "int/" + t.strip(">") + ("big" if ">" in t else ""), rng.integers(0, 100, size=(rows,)).astype(t))
    put(f, "negative", -np.arange(rows, dtype=np.int16))
    put(f, "bool", rng.integers(0, 2, size=(rows,)).astype(bool))
    put(f, "scalar", 2.5)
    put(f, "empty", np.zeros((0, 3)))
    img = rng.integers(0, 4, size=(rows, 6, 5, 3)).astype(np.uint8)
    c = f.create_group("chunked")
    put(c, "plain", img, chunks=(3, 4, 5, 2))
    put(c, "gzip", img, chunks=(4, 6, 3, 3), compression="gzip")
    put(c, "auto", img, compression="gzip", compression_opts=9)
    put(c, "whole", img, chunks=img.shape, compression="gzip")
    put(c, "shuffle", a, chunks=(3, 7), compression="gzip", shuffle=True)
    put(c, "checked", a, chunks=(3, 7), compression="gzip", shuffle=True, fletcher32=True)
    put(c, "odd", img[:, :1, :1, :], chunks=(1, 1, 1, 3), fletcher32=True)
    put(c, "lzf", img, chunks=(4, 6, 5, 3), compression="lzf")
    put(c, "tiny", np.arange(rows), chunks=(1,), compression="gzip")
    # Beyond the pages of 1024 entries of a fixed array.
    put(c, "many", np.arange(2 * rows * 50, dtype=np.uint16), chunks=(1,)) if not small else None
    for g in ("many", "few"):
        for i in range(11 if g == "many" and small else 23 if g == "many" else 3):
            put(f, f"{g}/demo_{i}/x", np.arange(i))
    f.create_dataset("text/fixed", data=np.array(["demo_0", "demo_10"], dtype="S"))
    f.create_dataset("text/variable", data=["one", "", "dreißig"], dtype=h5py.string_dtype())
    strings["/text/fixed"] = ["demo_0", "demo_10"]
    strings["/text/variable"] = ["one", "", "dreißig"]
    for path in ("few", "many"):
        for i in range(12 if path == "many" else 2):
            f[path].attrs[f"n{i}"] = i * i
            attrs[f"/{path}:n{i}"] = [float(i * i)]
        f[path].attrs["name"] = "grüße"
        attrs[f"/{path}:name"] = ["grüße"]
    f["few"].attrs["bytes"] = np.bytes_("raw")
    attrs["/few:bytes"] = ["raw"]
    f["contiguous"].attrs["list"] = [1.5, -2]
    attrs["/contiguous:list"] = [1.5, -2]
    f["few"].attrs["long"] = "x" * 300
    attrs["/few:long"] = ["x" * 300]
    f["soft"] = h5py.SoftLink("/few")


for file, how in {
    "default.h5": {},
    "v108.h5": {"libver": ("v108", "v108")},
    "latest.h5": {"libver": "latest"},
    "ordered.h5": {"track_order": True},
    "block.h5": {"userblock_size": 512},
}.items():
    if file in ("ordered.h5", "block.h5") and small:
        continue
    with h5py.File(f"{out}/{file}", "w", **how) as f:
        fill(f)

if small:
    for file, how in {"seed-default.h5": {}, "seed-v108.h5": {"libver": ("v108", "v108")}, "seed-latest.h5": {"libver": "latest"}}.items():
        with h5py.File(f"{out}/{file}", "w", **how) as f:  # little ones, to fuzz from
            f.create_dataset("x", data=np.arange(6.0), chunks=(2,), compression="gzip", shuffle=True, fletcher32=True)
            f.create_dataset("s", data=["one"], dtype=h5py.string_dtype())
            f.attrs["name"] = "v"
            for i in range(9 if "v108" in file else 1):
                f[f"g/l{i}"] = f["x"]
    with h5py.File(f"{out}/refused.h5", "w", libver="latest") as f:
        f.create_dataset("growing", data=np.arange(9), chunks=(2,), maxshape=(None,))
        f.create_dataset("scaled", data=np.arange(9), chunks=(3,), scaleoffset=0)
        f.create_dataset("compound", data=np.zeros(2, dtype=[("a", "f4"), ("b", "i4")]))
        f.create_dataset("never", shape=(4,), chunks=(2,), dtype="f4")
        lay = h5py.VirtualLayout(shape=(9,), dtype="i8")
        lay[:] = h5py.VirtualSource(".", "growing", shape=(9,))
        f.create_virtual_dataset("virtual", lay)

json.dump({"numbers": numbers, "strings": strings, "attrs": attrs}, open(f"{out}/want.json", "w"), ensure_ascii=False)
