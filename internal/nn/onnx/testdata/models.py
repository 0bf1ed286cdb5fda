"""Writes small networks of random weights as PyTorch exports them, with inputs,
outputs and gradients of the mean square.

    python3 models.py FOLDER           the committed fixtures
    python3 models.py FOLDER resnet18  a ResNet-18 for 96x96 pixels
    python3 models.py FOLDER vits      a ViT-S/16 for 64x64 pixels, 4 of its 12 blocks

For each NAME it writes NAME.onnx and NAME.safetensors: x (B,H,W,C), y, dx,
grad.PARAM and, of batch norms in training, stat.BUFFER after a pass. Batch norms
in use are joined with the convolutions before them, as the exporter or the
reader does, before gradients are taken.
"""
import copy
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../testdata"))
import stfile


class Basic(nn.Module):
    """Block of two convolutions (He et al. 2016)."""

    def __init__(self, cin, cout, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout)
        self.conv2, self.bn2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False), nn.BatchNorm2d(cout)
        self.down = None
        if stride != 1 or cin != cout:
            self.down = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.down is None else self.down(x)))


class Bottleneck(nn.Module):
    """Block of ResNet-50."""

    def __init__(self, cin, width, stride):
        super().__init__()
        cout = 4 * width
        self.body = nn.Sequential(
            nn.Conv2d(cin, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, cout, 1, bias=False), nn.BatchNorm2d(cout))
        self.down = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x):
        return F.relu(self.body(x) + self.down(x))


def stem(width):
    return [nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]


def tail(width, out):
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, out)]


def resnet18(width=64, out=1000):
    layers, cin = stem(width), width
    for k, stride in enumerate((1, 2, 2, 2)):
        cout = width << k
        layers += [Basic(cin, cout, stride), Basic(cout, cout, 1)]
        cin = cout
    return nn.Sequential(*layers, *tail(cin, out))


class Attention(nn.Module):
    def __init__(self, dim, heads, split):
        super().__init__()
        self.heads, self.split = heads, split
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x):
        B, N, D = x.shape
        h, d = self.heads, D // self.heads
        if self.split:  # as in CLIP and DINO's first versions
            q, k, v = (t.reshape(B, N, h, d).transpose(1, 2) for t in self.qkv(x).chunk(3, dim=-1))
        else:  # as in timm
            q, k, v = self.qkv(x).reshape(B, N, 3, h, d).permute(2, 0, 3, 1, 4).unbind(0)
        a = ((q @ k.transpose(-2, -1)) * d**-0.5).softmax(-1)
        return self.proj((a @ v).transpose(1, 2).reshape(B, N, D))


class Block(nn.Module):
    def __init__(self, dim, heads, split):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(dim, eps=1e-6), Attention(dim, heads, split)
        self.norm2, self.mlp = nn.LayerNorm(dim, eps=1e-6), nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """Vision transformer (Dosovitskiy et al. 2021)."""

    def __init__(self, side, patch, dim, heads, depth, split):
        super().__init__()
        self.patch = nn.Conv2d(3, dim, patch, patch)
        self.cls = nn.Parameter(torch.randn(1, 1, dim))
        self.pos = nn.Parameter(torch.randn(1, (side // patch) ** 2 + 1, dim) * 0.5)
        self.blocks = nn.Sequential(*(Block(dim, heads, split) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.pos
        return self.norm(self.blocks(x))[:, 0]


def groups():
    return nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1), nn.GroupNorm(2, 8), nn.SiLU(), nn.AvgPool2d(2), nn.Hardtanh(-0.4, 0.6),
                         nn.Conv2d(8, 4, 3), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(4 * 16, 3), nn.Tanh())


TRAIN, KEEP, FOLD = torch.onnx.TrainingMode.TRAINING, torch.onnx.TrainingMode.PRESERVE, torch.onnx.TrainingMode.EVAL

# name: network, side, batch, opset, what becomes of batch norms, free batch
SMALL = {
    "resnet": lambda: (resnet18(3, 6), 32, 2, 11, FOLD, True),
    "norms": lambda: (nn.Sequential(*stem(4), Basic(4, 8, 2), *tail(8, 5)), 32, 3, 13, TRAIN, True),
    "bottleneck": lambda: (nn.Sequential(*stem(4), Bottleneck(4, 4, 2), *tail(16, 5)), 32, 2, 9, KEEP, False),
    "vit": lambda: (ViT(16, 4, 24, 3, 2, False), 16, 2, 13, FOLD, True),
    "vitfixed": lambda: (ViT(16, 8, 16, 2, 1, True), 16, 2, 11, KEEP, False),
    "groups": lambda: (groups(), 12, 2, 12, FOLD, True),
}
LARGE = {
    "resnet18": lambda: (resnet18(), 96, 2, 13, FOLD, True),
    "vits": lambda: (ViT(64, 16, 384, 6, 4, False), 64, 2, 13, FOLD, True),
}


def fused(m):
    """Joins every batch norm with the convolution before it."""
    before = None
    for name, child in list(m.named_children()):
        if isinstance(child, nn.BatchNorm2d):
            setattr(m, before, fuse_conv_bn_eval(getattr(m, before), child))
            setattr(m, name, nn.Identity())
        else:
            fused(child)
        before = name
    return m


def write(folder, name, make):
    torch.manual_seed(1)
    net, side, batch, opset, mode, free = make()
    for m in net.modules():  # nothing that is 0 or 1 by chance
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.uniform_(-0.1, 0.1)
            m.running_var.uniform_(0.5, 1.5)
        if isinstance(m, (nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)):
            nn.init.uniform_(m.weight, 0.5, 1.5)
            nn.init.uniform_(m.bias, -0.3, 0.3)
    net.train(mode == TRAIN)
    x = torch.randn(batch, 3, side, side)
    torch.onnx.export(net, x, f"{folder}/{name}.onnx", opset_version=opset, input_names=["image"], output_names=["out"],
                      training=mode, do_constant_folding=mode == FOLD,
                      dynamic_axes={"image": {0: "n"}, "out": {0: "n"}} if free else None)
    # The exporter ran the network and wrote the statistics that this left.
    if mode != TRAIN:
        net = fused(copy.deepcopy(net))
    x.requires_grad_(True)
    y = net(x)
    y.square().mean().backward()
    last = (0, 2, 3, 1)
    out = {"x": x.detach().permute(last), "dx": x.grad.permute(last), "y": y.detach()}
    for k, p in net.named_parameters():
        out["grad." + k] = p.grad
    if mode == TRAIN:
        for k, b in net.named_buffers():
            if "running" in k:
                out["stat." + k] = b
    stfile.save(f"{folder}/{name}.safetensors", {k: np.ascontiguousarray(v.numpy(), np.float32) for k, v in out.items()})


if __name__ == "__main__":
    folder = sys.argv[1]
    for name, make in (SMALL if len(sys.argv) < 3 else {sys.argv[2]: LARGE[sys.argv[2]]}).items():
        write(folder, name, make)
