"""Times PyTorch's steps of soft actor-critic from pixels, as pixels_bench_test.go.

Answers each line with the nanoseconds of processor time of one step on a batch
of 64 transitions of one 84x84 camera: shifts, trunk of frames and of next
frames, targets by the smaller of two of ten critics, critics, trunk, actor,
temperature, moving average. One thread, the faster of PyTorch's two layouts.
With an argument, cuda, it is the wall time on that device, of ten steps' mean.
"""

import math
import sys
import time

import torch
import torch.nn.functional as F

torch.set_num_threads(1)
torch.manual_seed(1)
on = sys.argv[1] if len(sys.argv) > 1 else "cpu"
if on != "cpu":
    torch.set_default_device(on)
    torch.backends.cudnn.allow_tf32 = False
B, D, K, E, H, SIDE, L = 64, 8, 7, 10, 256, 84, 50


class Linears(torch.nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.w = torch.nn.Parameter(torch.randn(E, i, o) / i**0.5)
        self.b = torch.nn.Parameter(torch.zeros(E, 1, o))

    def forward(self, x):
        return torch.baddbmm(self.b, x, self.w)


class Norms(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.g = torch.nn.Parameter(torch.ones(E, 1, H))
        self.b = torch.nn.Parameter(torch.zeros(E, 1, H))

    def forward(self, x):
        return F.layer_norm(x, x.shape[-1:]) * self.g + self.b


def critics():
    n, relu = torch.nn.Sequential, torch.nn.ReLU
    return n(Linears(L + D + K, H), Norms(), relu(), Linears(H, H), Norms(), relu(), Linears(H, 1))


def trunk():
    conv, relu = torch.nn.Conv2d, torch.nn.ReLU
    net = torch.nn.Sequential(
        conv(3, 32, 3, 2), relu(), conv(32, 32, 3), relu(), conv(32, 32, 3), relu(), conv(32, 32, 3), relu(),
        torch.nn.Flatten(), torch.nn.LazyLinear(L), torch.nn.LayerNorm(L), torch.nn.Tanh(),
    )
    net(torch.zeros(1, 3, SIDE, SIDE))  # sizes the linear layer
    return net


class Agent:
    def __init__(self, layout):
        self.layout = layout
        self.trunk = trunk().to(memory_format=layout)
        self.q, self.target = critics(), critics()
        lin, relu = torch.nn.Linear, torch.nn.ReLU
        self.actor = torch.nn.Sequential(lin(L + D, H), relu(), lin(H, H), relu(), lin(H, 2 * K))
        self.log_alpha = torch.nn.Parameter(torch.tensor([math.log(0.1)]))
        adam = lambda ps: torch.optim.Adam(ps, lr=3e-4)
        self.opt = [adam(self.q.parameters()), adam(self.trunk.parameters()), adam(self.actor.parameters()), adam([self.log_alpha])]
        img = lambda: torch.randint(0, 256, (B, SIDE, SIDE, 3), dtype=torch.uint8)
        self.batch = img(), img(), torch.randn(B, D), torch.randn(B, D), torch.rand(B, K) * 2 - 1, torch.randn(B, 1), torch.full((B, 1), 0.99)

    def see(self, img):
        x = img.permute(0, 3, 1, 2).float().div_(255).sub_(0.5)
        x = F.pad(x, (4, 4, 4, 4), mode="replicate")
        at = torch.randint(0, 9, (B, 2), device="cpu").tolist()
        x = torch.stack([x[i, :, r : r + SIDE, c : c + SIDE] for i, (r, c) in enumerate(at)])
        return self.trunk(x.contiguous(memory_format=self.layout))

    def act(self, x):
        mean, raw = self.actor(x).chunk(2, -1)
        log_std = -5 + 3.5 * (torch.tanh(raw) + 1)
        noise = torch.randn_like(mean)
        u = mean + log_std.exp() * noise
        logp = (-0.5 * noise**2 - log_std - 0.5 * math.log(2 * math.pi) - 2 * (math.log(2) - u - F.softplus(-2 * u))).sum(-1, keepdim=True)
        return torch.tanh(u), logp

    def step(self):
        img, nimg, row, nrow, a, r, disc = self.batch
        with torch.no_grad():
            x = torch.cat([self.see(nimg), nrow], -1)
            na, _ = self.act(x)
            two = torch.randperm(E)[:2]
            y = r + disc * self.target(torch.cat([x, na], -1).expand(E, B, -1))[two].min(0)[0]
        z = self.see(img)
        q = self.q(torch.cat([z, row, a], -1).expand(E, B, -1))
        self.opt[0].zero_grad(set_to_none=False)
        self.opt[1].zero_grad(set_to_none=False)
        F.mse_loss(q, y.expand(E, B, 1)).backward()
        torch.nn.utils.clip_grad_norm_(self.q.parameters(), 10)
        torch.nn.utils.clip_grad_norm_(self.trunk.parameters(), 10)
        self.opt[0].step()
        self.opt[1].step()
        with torch.no_grad():
            torch._foreach_mul_(list(self.target.parameters()), 0.995)
            torch._foreach_add_(list(self.target.parameters()), list(self.q.parameters()), alpha=0.005)
        for p in self.q.parameters():
            p.requires_grad_(False)
        x = torch.cat([z.detach(), row], -1)
        pi, logp = self.act(x)
        alpha = self.log_alpha.exp().detach()
        loss = (alpha * logp - self.q(torch.cat([x, pi], -1).expand(E, B, -1)).mean(0)).mean()
        self.opt[2].zero_grad(set_to_none=False)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.actor.parameters(), 10)
        self.opt[2].step()
        for p in self.q.parameters():
            p.requires_grad_(True)
        self.opt[3].zero_grad(set_to_none=False)
        (self.log_alpha.exp() * (-logp.detach().mean() + K)).backward()
        self.opt[3].step()


def timed(agent):
    if on != "cpu":
        torch.cuda.synchronize()
        t = time.perf_counter_ns()
        for _ in range(10):
            agent.step()
        torch.cuda.synchronize()
        return (time.perf_counter_ns() - t) / 10
    t = time.process_time_ns()
    agent.step()
    return time.process_time_ns() - t


agents = [Agent(torch.contiguous_format), Agent(torch.channels_last)]
best = min(agents, key=lambda a: min(timed(a) for _ in range(4)))
for _ in sys.stdin:
    print(timed(best), flush=True)
