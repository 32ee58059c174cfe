#!/usr/bin/env python3
"""Opens a checkpoint of `cpr grokking` with Python's safetensors, puts its weights into torch.nn modules by name, and
compares their logits with those of `cpr eval`.

    cpr eval CHECKPOINT --logits logits.safetensors
    python3 scripts/open_checkpoint.py CHECKPOINT logits.safetensors

Needs torch and safetensors. Prints the largest difference of a logit; fails above 1e-5 of the largest logit: trained
networks have logits of several hundred, and either side rounds in f32.
"""

import json
import sys
import tomllib

import torch
from safetensors import safe_open
from torch import nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Attention of the last position; its names are those of torch's nn.MultiheadAttention without biases."""

    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.out_proj = nn.Linear(dim, dim, bias=False)

    def forward(self, x):
        q, k, v = (x @ self.in_proj_weight.T).chunk(3, dim=-1)
        split = lambda z: z.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(split(q), split(k), split(v), is_causal=True)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    def __init__(self, dim, heads, ratio):
        super().__init__()
        self.attn = Attention(dim, heads)
        self.mlp = nn.Sequential(nn.Linear(dim, ratio * dim), nn.ReLU(), nn.Linear(ratio * dim, dim))

    def forward(self, x):
        x = x + self.attn(x)
        return x + self.mlp(x)


class Decoder(nn.Module):
    def __init__(self, p, dim, heads, ratio):
        super().__init__()
        self.token_embeddings = nn.Embedding(p + 1, dim)
        self.position_embeddings = nn.Embedding(3, dim)
        self.layers = nn.ModuleList([Layer(dim, heads, ratio)])
        self.head = nn.Linear(dim, p + 1, bias=False)

    def forward(self, tokens):
        x = self.token_embeddings(tokens) + self.position_embeddings.weight
        for layer in self.layers:
            x = layer(x)
        return self.head(x[:, -1])


def main():
    checkpoint, reference = sys.argv[1:]
    with safe_open(checkpoint, framework="pt") as file:
        meta = json.loads(file.metadata()["cpr"])["meta"]
        weights = {n: file.get_tensor(n) for n in file.keys() if not n.startswith(("optimizer/", "constraint/"))}
        moments = sum(n.startswith("optimizer/") for n in file.keys())
    config = tomllib.loads(meta["config"])
    p = config["p"]
    model = Decoder(p, config["dim"], config["heads"], config["mlp_ratio"])
    model.load_state_dict(weights)  # strict: every name and shape
    print(f"{meta['kind']} at step {meta['step']}: {len(weights)} weights by name, {moments} moments")

    a, b = torch.meshgrid(torch.arange(p), torch.arange(p), indexing="ij")
    tokens = torch.stack([a.flatten(), b.flatten(), torch.full((p * p,), p)], dim=1)
    with torch.no_grad():
        logits = model(tokens)
    with safe_open(reference, framework="pt") as file:
        expected = file.get_tensor("logits")
    difference = (logits - expected).abs().max().item()
    accuracy = (logits.argmax(1) == (a + b).flatten() % p).double().mean().item()
    scale = max(1.0, expected.abs().max().item())
    print(f"{p * p} pairs, accuracy {100 * accuracy:.4f} %, largest difference of a logit {difference:.2e} at a largest "
          f"logit of {scale:.4g}: {difference / scale:.1e} of it")
    return difference > 1e-5 * scale


if __name__ == "__main__":
    sys.exit(main())
