"""Solves transport problems with Python Optimal Transport for the peer tests.

Reads requests from standard input: a line of JSON {"b","n","m","eps","tol",
"runs"}, then b*n*m little-endian float64 costs. Answers with a line of JSON
{"ns": one processor time per run of all b problems, "version"}, then the plans.
"""
import json
import sys
import time
import warnings

import numpy as np
import ot

warnings.simplefilter("error")  # a plan that did not converge is no peer
while True:
    line = sys.stdin.buffer.readline()
    if not line:
        break
    q = json.loads(line)
    b, n, m = q["b"], q["n"], q["m"]
    c = np.frombuffer(sys.stdin.buffer.read(8 * b * n * m)).reshape(b, n, m)
    r, s = np.full(n, 1 / n), np.full(m, 1 / m)
    ns = []
    for _ in range(q["runs"]):
        t = time.process_time_ns()
        p = [ot.sinkhorn(r, s, x, q["eps"], method="sinkhorn_log",
                         stopThr=q["tol"], numItermax=1000000) for x in c]
        ns.append(time.process_time_ns() - t)
    sys.stdout.buffer.write(json.dumps({"ns": ns, "version": ot.__version__}).encode() + b"\n")
    sys.stdout.buffer.write(np.ascontiguousarray(p).tobytes())
    sys.stdout.buffer.flush()
