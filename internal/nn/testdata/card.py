"""Times PyTorch's training steps on an NVIDIA card, for peer_card_test.go.

Reads a line NAME MODE per request: NAME is critics, encoder (pace.py) or resnet (a
ResNet-18 without its classifier on 32 images of 224x224), MODE is eager, or graph for the
whole step captured as a CUDA graph. Answers with the nanoseconds of wall time of
one step, as the mean of twenty: the batch's way to the card, forward, backward and
Adam. float32 without TF32.
The first argument names another device.
"""

import os
import sys
import time

import torch
import torch.nn.functional as F

import pace

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../onnx/testdata"))

on = sys.argv[1] if len(sys.argv) > 1 else "cuda"
torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False


def resnet():
    import models

    return models.resnet18()[:-1], torch.rand(32, 3, 224, 224) - 0.5, torch.randn(32, 512)


def wait():
    if on == "cuda":
        torch.cuda.synchronize()


def make(name, mode):
    net, x, y = {"critics": pace.critics, "encoder": pace.encoder, "resnet": resnet}[name]()
    net, xs, ys = net.to(on), x.contiguous(), y.contiguous()
    if on == "cuda":
        xs, ys = xs.pin_memory(), ys.pin_memory()
    x, y = xs.to(on), ys.to(on)
    adam = torch.optim.Adam(net.parameters(), lr=3e-4, **({"capturable": True} if mode == "graph" else {}))

    def step():
        x.copy_(xs, non_blocking=True)
        y.copy_(ys, non_blocking=True)
        adam.zero_grad(set_to_none=False)
        F.mse_loss(net(x), y).backward()
        adam.step()

    if mode != "graph":
        return step
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


known = {}
for line in sys.stdin:
    name, mode = line.split()
    if line not in known:
        known[line] = make(name, mode)
        for _ in range(5):
            known[line]()
    wait()
    t = time.perf_counter_ns()
    for _ in range(20):
        known[line]()
    wait()
    print((time.perf_counter_ns() - t) / 20, flush=True)
