"""Times PyTorch's training steps of the networks in peer_bench_test.go.

Reads a line NET, critics or encoder, per request and answers with the
nanoseconds of processor time of one step: forward, backward, Adam. One thread.
"""

import sys
import time

import torch
import torch.nn.functional as F

torch.set_num_threads(1)
torch.manual_seed(1)


class Linears(torch.nn.Module):
    """E linear layers side by side: (E,B,In) to (E,B,Out)."""

    def __init__(self, e, i, o):
        super().__init__()
        self.w = torch.nn.Parameter(torch.randn(e, i, o) / i**0.5)
        self.b = torch.nn.Parameter(torch.zeros(e, 1, o))

    def forward(self, x):
        return torch.baddbmm(self.b, x, self.w)


class Norms(torch.nn.Module):
    """A layer norm for each of E members."""

    def __init__(self, e, n):
        super().__init__()
        self.g = torch.nn.Parameter(torch.ones(e, 1, n))
        self.b = torch.nn.Parameter(torch.zeros(e, 1, n))

    def forward(self, x):
        return F.layer_norm(x, x.shape[-1:]) * self.g + self.b


def critics():
    relu = torch.nn.ReLU
    net = torch.nn.Sequential(
        Linears(10, 71, 256), Norms(10, 256), relu(), Linears(10, 256, 256), Norms(10, 256), relu(), Linears(10, 256, 1)
    )
    return net, torch.randn(256, 71).expand(10, 256, 71), torch.randn(10, 256, 1)


def encoder():
    conv, relu = torch.nn.Conv2d, torch.nn.ReLU
    net = torch.nn.Sequential(
        conv(3, 32, 3, 2), relu(), conv(32, 32, 3), relu(), conv(32, 32, 3), relu(), conv(32, 32, 3), relu(),
        torch.nn.Flatten(), torch.nn.LazyLinear(50),
    )
    x = torch.rand(64, 3, 84, 84) - 0.5
    net(x[:1])  # sizes the linear layer
    return net, x, torch.randn(64, 50)


def main():
    known = {}
    for line in sys.stdin:
        name = line.strip()
        if name not in known:
            net, x, y = {"critics": critics, "encoder": encoder}[name]()
            known[name] = net, x, y, torch.optim.Adam(net.parameters(), lr=3e-4)
        net, x, y, adam = known[name]
        t = time.process_time_ns()
        adam.zero_grad(set_to_none=False)
        F.mse_loss(net(x), y).backward()
        adam.step()
        print(time.process_time_ns() - t, flush=True)


if __name__ == "__main__":
    main()
