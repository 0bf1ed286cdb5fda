"""Writes NAME.onnx and NAME.json into a folder: a small network with random
weights, its input and what PyTorch makes of it.

    python3 tiny.py FOLDER            the committed fixture, tiny
    python3 tiny.py FOLDER resnet     a ResNet-18 without its classifier
    python3 tiny.py FOLDER fixed      tiny with a batch size burnt in
"""
import json
import sys

import numpy as np
import torch
from torch import nn


class Block(nn.Module):
    """Basic block of ResNet-18 (He et al. 2016)."""

    def __init__(self, cin, cout, stride):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(),
            nn.Conv2d(cout, cout, 3, 1, 1, bias=False), nn.BatchNorm2d(cout))
        same = stride == 1 and cin == cout
        self.skip = nn.Identity() if same else nn.Sequential(
            nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x):
        return torch.relu(self.body(x) + self.skip(x))


def tiny():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), Block(8, 8, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 6))


def resnet():
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    cin = 64
    for cout, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [Block(cin, cout, stride), Block(cout, cout, 1)]
        cin = cout
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def picture(side):
    """The image that the Go tests draw: BGR8, (side,side,3)."""
    y, x, c = np.meshgrid(np.arange(side), np.arange(side), np.arange(3), indexing="ij")
    return ((7 * x + 13 * y + 29 * c + x * y % 11) % 256).astype(np.uint8)


def main():
    folder, kind = sys.argv[1], (sys.argv[2:] or ["tiny"])[0]
    torch.manual_seed(1)
    side = 96 if kind == "resnet" else 32
    net = resnet() if kind == "resnet" else tiny()
    # Statistics that are not 0 and 1, so that a forgotten batch norm shows.
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.uniform_(-0.1, 0.1)
            m.running_var.uniform_(0.5, 1.5)
    net.eval()
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    rgb = picture(side)[:, :, ::-1].astype(np.float32) / 255
    x = torch.from_numpy(((rgb - mean) / std).transpose(2, 0, 1)[None].copy())
    with torch.no_grad():
        want = net(x)[0].tolist()
    axes = None if kind == "fixed" else {"image": {0: "n"}, "embedding": {0: "n"}}
    torch.onnx.export(net, x, f"{folder}/{kind}.onnx", opset_version=11, input_names=["image"],
                      output_names=["embedding"], dynamic_axes=axes)
    with open(f"{folder}/{kind}.json", "w") as f:
        json.dump({"side": side, "want": [float(np.float32(v)) for v in want]}, f)
        f.write("\n")


main()
