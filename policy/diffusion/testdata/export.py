"""Runs an exported chain in OpenCV, one row at a time, after ONNX's own checker has
passed it.

Reads PATH.onnx and PATH.json, {NAME: numbers of all rows}, and prints the commands of
all rows as JSON.
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
inputs = {k: np.array(v, np.float32).reshape(-1, *shape[k]) for k, v in json.load(open(path + ".json")).items()}
assert set(shape) == set(inputs), shape
for e in model.metadata_props:
    assert e.key and e.value, e
# OpenCV 4.6 wants shapes that are known.
for v in list(model.graph.input) + list(model.graph.output):
    v.type.tensor_type.shape.dim[0].dim_value = 1
# Its Python takes three axes for a picture with channels. The file reshapes its inputs
# first of all, so rows do as well.
for v in model.graph.input:
    d = v.type.tensor_type.shape.dim
    if len(d) == 3:
        d[1].dim_value *= d[2].dim_value
        del d[2]
net = cv2.dnn.readNetFromONNX(np.frombuffer(model.SerializeToString(), np.uint8))
out = []
for i in range(len(inputs["noise"])):
    for name, x in inputs.items():
        net.setInput(x[i : i + 1].reshape(1, -1) if x.ndim == 3 else x[i : i + 1], name)
    out += net.forward("commands").astype(float).ravel().tolist()
print(json.dumps(out))
