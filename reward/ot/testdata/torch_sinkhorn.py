"""Differentiates transport problems with PyTorch for the peer benchmark.

Log-domain Sinkhorn on a batch, with automatic differentiation of its sweeps.
Reads requests from standard input: a line of JSON {"b","n","m","eps","tol",
"runs"}, then b*n*m little-endian float64 costs. The sweeps that the tolerance
takes are counted beforehand. Answers with a line of JSON {"ns": one processor
time per run, "sweeps"}, then the gradient of the sum of <P,C> by the costs.
"""
import json
import math
import sys
import time

import numpy as np
import torch

torch.set_num_threads(1)


def sweep(c, beta, la, lb):
    alpha = la - torch.logsumexp(beta[:, None, :] - c, 2)
    return alpha, lb - torch.logsumexp(alpha[:, :, None] - c, 1)


while True:
    line = sys.stdin.buffer.readline()
    if not line:
        break
    q = json.loads(line)
    b, n, m, eps = q["b"], q["n"], q["m"], q["eps"]
    c = torch.from_numpy(np.frombuffer(sys.stdin.buffer.read(8 * b * n * m)).reshape(b, n, m).copy())
    la, lb = -math.log(n), -math.log(m)
    with torch.no_grad():
        beta, k = torch.zeros(b, m, dtype=c.dtype), 0
        while True:
            alpha, beta = sweep(c / eps, beta, la, lb)
            k += 1
            rows = torch.exp(alpha[:, :, None] + beta[:, None, :] - c / eps).sum(2)
            if (rows - 1 / n).abs().sum(1).max() <= q["tol"]:
                break
    ns = []
    for _ in range(q["runs"]):
        t = time.process_time_ns()
        x = c.clone().requires_grad_(True)
        s, beta = x / eps, torch.zeros(b, m, dtype=c.dtype)
        for _ in range(k):
            alpha, beta = sweep(s, beta, la, lb)
        (torch.exp(alpha[:, :, None] + beta[:, None, :] - s) * x).sum().backward()
        ns.append(time.process_time_ns() - t)
    sys.stdout.buffer.write(json.dumps({"ns": ns, "sweeps": k}).encode() + b"\n")
    sys.stdout.buffer.write(np.ascontiguousarray(x.grad.numpy()).tobytes())
    sys.stdout.buffer.flush()
