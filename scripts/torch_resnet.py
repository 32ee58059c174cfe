"""Milliseconds of one training step of ResNet18 for 32x32 images (batch 128, AdamW) in PyTorch, on cuda or the CPU.

    python3 scripts/torch_resnet.py [cuda|cpu] [BATCH]

prints three numbers on cuda: in full f32, with TF32 in products and convolutions, and that with channels last; one on
the CPU. The network is that of scripts/record_resnet.py at full width.
"""

import os
import sys
import time

import torch
from torch.nn import functional as F

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from record_resnet import ResNet18  # noqa: E402

device = sys.argv[1] if len(sys.argv) > 1 else "cuda"
batch = int(sys.argv[2]) if len(sys.argv) > 2 else 128
cuda = device.startswith("cuda")
rounds, steps = (5, 20) if cuda else (3, 1)


def milliseconds(tf32, channels_last):
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = ResNet18(64, 10).to(device).to(memory_format=layout).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    images = torch.randn(batch, 3, 32, 32, device=device).contiguous(memory_format=layout)
    labels = torch.randint(0, 10, (batch,), device=device)
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(model(images), labels, label_smoothing=0.1).backward()
            optimizer.step()
        if cuda:
            torch.cuda.synchronize()
        times.append((time.perf_counter() - start) * 1e3 / steps)
    # The first round warms up.
    return sorted(times[1:])[rounds // 2]


settings = [(False, False), (True, False), (True, True)] if cuda else [(False, False)]
print(*(f"{milliseconds(*setting):.2f}" for setting in settings))
