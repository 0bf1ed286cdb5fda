"""The conditional 1-D U-Net of peer_test.go in PyTorch, from the same numbers.

unet.py IN OUT: IN holds the params, a batch (noised, times, seen, target) and a
history with its noise (history, noise); OUT receives the prediction, the loss, the
gradients as grad.NAME and the chunk that 16 steps of DDIM draw. Then each line
train or draw on the standard input is answered by the nanoseconds of processor
time of one training step, forward, backward and AdamW, or of one such chunk. One
thread. With a third argument, cuda, it is the wall time of either on the card, the
mean of several, and "graph" behind the line asks for steps captured as a CUDA graph.
"""

import os
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../../internal/nn/testdata"))
import stfile  # noqa: E402

torch.set_num_threads(1)
on = sys.argv[3] if len(sys.argv) > 3 else "cpu"
torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False


def sinusoid(t, n):
    f = torch.exp(torch.arange(n // 2, device=t.device) * -(np.log(10000) / (n // 2 - 1)))
    a = t[:, None] * f[None]
    return torch.cat([a.sin(), a.cos()], -1)


class Net:
    def __init__(self, p, levels):
        self.p, self.levels = p, levels
        self.embed = p["step.0.weight"].shape[1]

    def linear(self, name, x):
        return F.linear(x, self.p[name + ".weight"], self.p[name + ".bias"])

    def conv(self, name, x, **how):
        return F.conv1d(x, self.p[name + ".weight"], self.p[name + ".bias"], **how)

    def smooth(self, name, x):
        x = self.conv(name + ".conv", x, padding=2)
        return F.mish(F.group_norm(x, 8, self.p[name + ".norm.weight"], self.p[name + ".norm.bias"]))

    def block(self, name, x, cond):
        h = self.smooth(name + ".first", x)
        scale, shift = self.linear(name + ".film", F.mish(cond)).chunk(2, -1)
        h = self.smooth(name + ".second", scale[..., None] * h + shift[..., None])
        if name + ".short.weight" in self.p:
            x = self.conv(name + ".short", x)
        return h + x

    def __call__(self, x, t, seen):
        """x (B,H,k), t (B,), seen (B,To*D)."""
        emb = self.linear("step.1", F.mish(self.linear("step.0", sinusoid(t, self.embed))))
        cond = torch.cat([emb, seen], -1)
        x = x.moveaxis(1, 2)
        skip = []
        for i in range(self.levels):
            x = self.block(f"down{i}.1", self.block(f"down{i}.0", x, cond), cond)
            skip.append(x)
            if i < self.levels - 1:
                x = self.conv(f"down{i}.resize", x, stride=2, padding=1)
        x = self.block("middle.1", self.block("middle.0", x, cond), cond)
        for i in range(self.levels - 1, 0, -1):
            x = torch.cat([x, skip[i]], 1)
            x = self.block(f"up{i}.1", self.block(f"up{i}.0", x, cond), cond)
            x = F.conv_transpose1d(x, self.p[f"up{i}.resize.weight"], self.p[f"up{i}.resize.bias"], stride=2, padding=1)
        return self.conv("out", self.smooth("last", x)).moveaxis(1, 2)


def bars(steps):
    f = np.cos((np.arange(steps + 1) / steps + 0.008) / 1.008 * np.pi / 2) ** 2
    return np.cumprod(1 - np.minimum(0.999, 1 - f[1:] / f[:-1]))


def ddim(net, x, seen, steps=16, train=100):
    bar = bars(train)
    times = [int(np.floor(train - i * train / steps + 0.5)) - 1 for i in range(steps)]
    with torch.inference_mode():
        for i, k in enumerate(times):
            before = bar[times[i + 1]] if i + 1 < steps else 1.0
            eps = net(x, torch.full((len(x),), float(k), device=x.device), seen)
            x0 = ((x - np.sqrt(1 - bar[k]) * eps) / np.sqrt(bar[k])).clamp(-1, 1)
            eps = (x - np.sqrt(bar[k]) * x0) / np.sqrt(1 - bar[k])
            x = np.sqrt(before) * x0 + np.sqrt(1 - before) * eps
    return x


def captured(f):
    """f as a CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            f()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        f()
    return graph.replay


def card(net, train, opt, noise, history):
    def step():
        train()
        opt.step()

    work = {"train": step, "draw": lambda: ddim(net, noise, history)}
    known = {}
    for line in sys.stdin:
        name, *mode = line.split()
        if line not in known:
            known[line] = captured(work[name]) if mode else work[name]
            for _ in range(3):
                known[line]()
        torch.cuda.synchronize()
        t = time.perf_counter_ns()
        for _ in range(10):
            known[line]()
        torch.cuda.synchronize()
        print((time.perf_counter_ns() - t) / 10, flush=True)


def main(src, dst, *_):
    arrays, meta = stfile.load(src)
    noised, times, seen, target, history, noise = (
        torch.from_numpy(arrays.pop(k)).to(on) for k in ("noised", "times", "seen", "target", "history", "noise")
    )
    p = {}
    for k, v in arrays.items():
        v = v[:, :, 0] if v.ndim == 4 else v  # one-dimensional convolutions
        p[k.removeprefix("denoiser.")] = torch.nn.Parameter(torch.from_numpy(v.copy()).to(on))
    net = Net(p, int(meta["levels"]))
    opt = torch.optim.AdamW(p.values(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6, **({"capturable": True} if on == "cuda" else {}))

    def train():
        opt.zero_grad(set_to_none=False)
        out = net(noised, times, seen)
        loss = F.mse_loss(out, target)
        loss.backward()
        return out, loss

    out, loss = train()
    res = {"output": out.detach().cpu().numpy(), "loss": np.array([loss.item()]), "chunk": ddim(net, noise, history).cpu().numpy()}
    res.update({"grad.denoiser." + k: v.grad.cpu().numpy() for k, v in p.items()})
    stfile.save(dst, res)
    del out, loss  # what they hold belongs to another stream than a capture
    print("ready", flush=True)
    if on == "cuda":
        card(net, train, opt, noise, history)
        return
    for line in sys.stdin:
        t = time.process_time_ns()
        if line.strip() == "train":
            train()
            opt.step()
        else:
            ddim(net, noise, history)
        print(time.process_time_ns() - t, flush=True)


main(*sys.argv[1:])
