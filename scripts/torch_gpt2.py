"""Milliseconds of a training step of GPT-2 s in PyTorch: bf16 autocast, 8x1024 tokens, fused AdamW, clipped at 1; eager and compiled."""

import time

import torch
import transformers

config = transformers.GPT2Config(attn_implementation="sdpa")


def measure(compiled):
    torch.manual_seed(1)
    model = transformers.GPT2LMHeadModel(config).cuda()
    forward = torch.compile(model) if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1, fused=True)
    tokens = torch.randint(0, config.vocab_size, (8, 1024), device="cuda")

    def step():
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = forward(tokens, labels=tokens).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    for _ in range(5):
        step()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(30):
        step()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) * 1e3 / 30


for compiled in (False, True):
    try:
        print(f"torch {torch.__version__}, {'compiled' if compiled else 'eager'}: {measure(compiled):.1f} ms a step")
    except Exception as error:  # a compiler may be missing
        print(f"torch, {'compiled' if compiled else 'eager'}: {type(error).__name__}: {error}")
