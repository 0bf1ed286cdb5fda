"""Times PyTorch's training steps of a ResNet-18 without its classifier, on 16
images of 128x128, and of four blocks of a ViT-S/16 on 16 of 96x96.

    python3 pace.py FOLDER

writes trained.onnx, frozen.onnx and vit.onnx, says "ready", reads a line, one of
these names, per request and answers with the nanoseconds of processor time of one
step: forward, backward, Adam. One thread. frozen has the batch norms joined with
the convolutions, as the exporter does.
"""
import copy
import sys
import time

import torch

import models

torch.set_num_threads(1)
torch.manual_seed(1)
base = models.resnet18()[:-1]  # features (B,512)
nets = {"trained": base.train(), "frozen": models.fused(copy.deepcopy(base).eval()),
        "vit": models.ViT(96, 16, 384, 6, 4, False)}
xs = {name: torch.randn(16, 3, side, side) for name, side in (("trained", 128), ("frozen", 128), ("vit", 96))}
for name, mode in (("trained", models.TRAIN), ("frozen", models.KEEP), ("vit", models.KEEP)):
    torch.onnx.export(nets[name], xs[name][:1], f"{sys.argv[1]}/{name}.onnx", opset_version=13, training=mode,
                      do_constant_folding=False, input_names=["x"], output_names=["y"],
                      dynamic_axes={"x": {0: "n"}, "y": {0: "n"}})
adams = {k: torch.optim.Adam(n.parameters(), lr=1e-5) for k, n in nets.items()}
print("ready", flush=True)
for line in sys.stdin:
    name = line.strip()
    t = time.process_time_ns()
    adams[name].zero_grad(set_to_none=False)
    nets[name](xs[name]).square().mean().backward()
    adams[name].step()
    print(time.process_time_ns() - t, flush=True)
