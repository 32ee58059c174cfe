"""Milliseconds of a training step and of an evaluation of the modular-addition model in PyTorch, to stand beside `cpr grokking`.

    python3 -m venv v && v/bin/pip install torch pytorch-cpr
    v/bin/python scripts/torch_grokking.py --threads 2

The setting is that of pytorch-cpr's example: p = 113, rows (a, b, =), 30 % of all pairs for training, batches of 512, one decoder
layer of dimension 128 with 4 heads, 512 hidden units, ReLU, learned positions, no layer norm, every position computed, the loss on
the last one; AdamCPR with the squared norm and κ = 0.8 of its start. Prints one JSON line: medians, and what they make of the
default run of 8000 steps and 200 evaluations of all validation pairs.
"""

import argparse
import json
import statistics
import time

import torch
from torch import nn
from torch.nn import functional

P, DIM, HEADS, HIDDEN, BATCH = 113, 128, 4, 512, 512


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(P + 1, DIM)
        self.positions = nn.Embedding(3, DIM)
        self.project = nn.Linear(DIM, 3 * DIM, bias=False)
        self.out = nn.Linear(DIM, DIM, bias=False)
        self.up = nn.Linear(DIM, HIDDEN)
        self.down = nn.Linear(HIDDEN, DIM)
        self.head = nn.Linear(DIM, P + 1, bias=False)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            else:
                nn.init.normal_(parameter, std=DIM**-0.5)

    def forward(self, rows):
        batch, length = rows.shape
        x = self.tokens(rows) + self.positions(torch.arange(length))
        query, key, value = (
            part.view(batch, length, HEADS, -1).transpose(1, 2) for part in self.project(x).chunk(3, dim=-1)
        )
        scores = query @ key.transpose(-1, -2) / (DIM // HEADS) ** 0.5
        hidden = torch.ones(length, length, dtype=torch.bool).triu(1)
        mixed = scores.masked_fill(hidden, float("-inf")).softmax(-1) @ value
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, DIM))
        x = x + self.down(functional.relu(self.up(x)))
        return self.head(x)[:, -1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--evaluations", type=int, default=9)
    arguments = parser.parse_args()

    from pytorch_cpr import AdamCPR

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    pairs = torch.cartesian_prod(torch.arange(P), torch.arange(P))[torch.randperm(P * P)]
    rows = torch.cat([pairs, torch.full((len(pairs), 1), P)], dim=1)
    labels = pairs.sum(1) % P
    training = int(0.3 * len(rows))

    model = Decoder()
    groups = [
        {"params": [p for n, p in model.named_parameters() if not n.endswith("bias")], "regularize": True},
        {"params": [p for n, p in model.named_parameters() if n.endswith("bias")], "regularize": False},
    ]
    optimizer = AdamCPR(groups, lr=1e-3, betas=(0.9, 0.98), kappa_init_method="dependent", kappa_init_param=0.8)

    steps = []
    while len(steps) < arguments.steps:
        for batch in torch.randperm(training).split(BATCH):
            start = time.perf_counter()
            optimizer.zero_grad()
            functional.cross_entropy(model(rows[batch]), labels[batch]).backward()
            optimizer.step()
            steps.append(time.perf_counter() - start)

    evaluations = []
    with torch.no_grad():
        for _ in range(arguments.evaluations):
            start = time.perf_counter()
            (model(rows[training:]).argmax(-1) == labels[training:]).float().mean().item()
            evaluations.append(time.perf_counter() - start)

    step, evaluation = (statistics.median(times) for times in (steps[20:] or steps, evaluations))
    print(json.dumps({
        "torch": torch.__version__,
        "threads": arguments.threads,
        "step_ms": round(step * 1e3, 2),
        "evaluation_ms": round(evaluation * 1e3, 1),
        "default_run_s": round(8000 * step + 200 * evaluation, 1),
    }))


if __name__ == "__main__":
    main()
