"""Does the work of peers_test.go's benchmark with OpenCV's Python bindings.

Reads a JPEG as a line with its size and the bytes, then requests: the line
"encoded" decodes, judges, crops and scales it; "frame" crops and scales the
decoded pixels. Answers each with its nanoseconds of processor time and the mean of the result.
"""

import sys
import time

import cv2
import numpy as np


def judge(f, last):
    """The metrics of vision.Quality, and whether the camera is frozen."""
    grey = cv2.cvtColor(f, cv2.COLOR_BGR2GRAY)
    _, std = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S, ksize=1, borderType=cv2.BORDER_REPLICATE))
    p = cv2.calcHist([grey], [0], None, [256], [0, 256])[:, 0].astype(np.float64) / grey.size
    v = np.arange(256.0)
    mean, some = p @ v, p[p > 0]
    return (
        std[0, 0] ** 2, mean, np.sqrt(max(0, p @ (v * v) - mean * mean)), -(some @ np.log2(some)),
        p[:6].sum(), p[250:].sum(), last is not None and np.array_equal(f, last),
    )


def prepare(f):
    return cv2.resize(f[0:480, 80:560], (96, 96), interpolation=cv2.INTER_AREA)


source = sys.stdin.buffer
jpeg = np.frombuffer(source.read(int(source.readline())), np.uint8)
frame = cv2.imdecode(jpeg, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
last = None
for line in source:
    t = time.process_time_ns()
    if line == b"encoded\n":
        f = cv2.imdecode(jpeg, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        judge(f, last)
        last = f
        out = prepare(f)
    else:
        out = prepare(frame)
    print(time.process_time_ns() - t, out.mean(), flush=True)
