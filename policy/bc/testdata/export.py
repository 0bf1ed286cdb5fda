"""Runs an exported policy in OpenCV, one row at a time, after ONNX's own checker
has passed it.

Reads PATH.onnx and PATH.json, {"inputs": {NAME: [row, ...]}}, and prints the
outputs as JSON.
"""
import json
import sys

import cv2
import numpy as np
import onnx

path = sys.argv[1]
model = onnx.load(path + ".onnx")
onnx.checker.check_model(model, full_check=True)
shape = {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim][1:] for i in model.graph.input}
inputs = {k: np.array(v, np.float32).reshape(-1, *shape[k]) for k, v in json.load(open(path + ".json"))["inputs"].items()}
assert {i.name for i in model.graph.input} == set(inputs), model.graph.input
for e in model.metadata_props:
    assert e.key and e.value, e
# OpenCV 4.6 wants shapes that are known.
for v in list(model.graph.input) + list(model.graph.output):
    v.type.tensor_type.shape.dim[0].dim_value = 1
net = cv2.dnn.readNetFromONNX(np.frombuffer(model.SerializeToString(), np.uint8))
rows = []
for i in range(len(next(iter(inputs.values())))):
    for name, x in inputs.items():
        net.setInput(x[i : i + 1], name)
    rows.append(net.forward("command")[0].astype(float).tolist())
print(json.dumps(rows))
