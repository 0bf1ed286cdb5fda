"""Trains the networks of peer_test.go with PyTorch from the same numbers.

peer.py IN OUT: IN holds the params, the inputs and, as metadata, which network
and how many Adam steps; OUT receives losses (steps,), the gradients of the first
step as grad.NAME and the params after the last as NAME.
"""

import sys

import numpy as np
import torch
import torch.nn.functional as F

import stfile

torch.set_num_threads(1)


def critics(p, x):
    """An ensemble on (B,In): (E,B,1)."""
    h = x.expand(p["q.0.weight"].shape[0], *x.shape)
    for i in range(3):
        h = torch.baddbmm(p[f"q.{i}.bias"].unsqueeze(1), h, p[f"q.{i}.weight"].transpose(1, 2))
        if i < 2:
            h = F.layer_norm(h, h.shape[-1:])
            h = h * p[f"q.{i}.norm.weight"].unsqueeze(1) + p[f"q.{i}.norm.bias"].unsqueeze(1)
            h = torch.relu(h)
    return h


def encoder(p, x):
    """DrQ's convolutions, linear, layer norm, tanh. Images are channels-last."""
    h = x.permute(0, 3, 1, 2)
    for i in range(4):
        h = torch.relu(F.conv2d(h, p[f"e.{i}.weight"], p[f"e.{i}.bias"], stride=2 if i == 0 else 1))
    h = F.linear(h.permute(0, 2, 3, 1).flatten(1), p["h.0.weight"], p["h.0.bias"])
    return torch.tanh(F.layer_norm(h, h.shape[-1:], p["n.weight"], p["n.bias"]))


def parts(p, x):
    """The rarer layers, one after the other."""
    h = F.conv2d(x.permute(0, 3, 1, 2), p["c.weight"], p["c.bias"], stride=(1, 2), padding=(1, 2))
    h = F.gelu(F.group_norm(h, 2, p["g.weight"], p["g.bias"]))
    h = F.max_pool2d(h, 3, 2, 1)
    h = F.mish(F.batch_norm(h, p["mean"].detach(), p["var"].detach(), p["b.weight"], p["b.bias"], False, 0, 1e-5))
    h = F.silu(F.conv_transpose2d(h, p["t.weight"], p["t.bias"], stride=2, padding=1))
    h = F.softplus(F.avg_pool2d(F.interpolate(h, scale_factor=2), 4))
    prob = torch.softmax(h.flatten(2) / 0.5, -1).reshape(h.shape)
    xs, ys = torch.linspace(-1, 1, h.shape[3]), torch.linspace(-1, 1, h.shape[2])
    return torch.stack([(prob * xs).sum((2, 3)), (prob * ys[:, None]).sum((2, 3))], -1).flatten(1)


def main(src, dst):
    arrays, meta = stfile.load(src)
    x, y = (torch.from_numpy(arrays.pop(k)) for k in ("input", "target"))
    p = {k: torch.nn.Parameter(torch.from_numpy(v)) for k, v in arrays.items()}
    trained = [k for k in p if k not in ("mean", "var")]
    opt = torch.optim.AdamW([p[k] for k in trained], lr=float(meta["lr"]), weight_decay=float(meta["decay"]))
    losses, out = [], {}
    for step in range(int(meta["steps"])):
        opt.zero_grad()
        net = {"critics": critics, "encoder": encoder, "parts": parts}[meta["net"]](p, x)
        loss = F.huber_loss(net, y, delta=0.3) if meta["loss"] == "huber" else F.mse_loss(net, y)
        loss.backward()
        if step == 0:
            out.update({"grad." + k: p[k].grad.numpy().copy() for k in trained})
            out["output"] = net.detach().numpy().copy()
        if float(meta["clip"]) > 0:
            torch.nn.utils.clip_grad_norm_([p[k] for k in trained], float(meta["clip"]))
        opt.step()
        losses.append(loss.item())
    out["losses"] = np.array(losses)
    out.update({k: p[k].detach().numpy() for k in trained})
    stfile.save(dst, out)


main(*sys.argv[1:])
