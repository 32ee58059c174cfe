"""Makes the tiny random GPT-2 of cpr-gpu/tests/data/gpt2-tiny, in Hugging Face's format, and the logits that transformers
gives of it.

By hand, where PyPI can be reached:

    python3 -m venv v && v/bin/pip install torch transformers
    v/bin/python scripts/hf_gpt2.py                 # writes the folder anew
    v/bin/python scripts/hf_gpt2.py FOLDER          # prints a few logits of any such folder, for a comparison

`cargo test -p cpr-gpu --test pretrained` compares.
"""

import json
import pathlib
import sys

import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parent.parent / "cpr-gpu/tests/data/gpt2-tiny"


def logits(model, tokens):
    model.eval()
    with torch.no_grad():
        return model(torch.tensor(tokens)).logits


def main():
    if len(sys.argv) > 1:
        model = transformers.GPT2LMHeadModel.from_pretrained(sys.argv[1])
        tokens = [[index * 7 % model.config.vocab_size for index in range(5)]]
        print(logits(model, tokens)[0, :, :6])
        return
    torch.manual_seed(7)
    config = transformers.GPT2Config(vocab_size=64, n_positions=24, n_embd=32, n_layer=2, n_head=4)
    model = transformers.GPT2LMHeadModel(config)
    with torch.no_grad():
        # Initial weights are so small that attention is nearly uniform, and biases are 0: larger ones show more.
        for name, parameter in model.named_parameters():
            scale = 0.3 if parameter.dim() > 1 else 0.1
            centre = 1.0 if "ln_" in name and name.endswith("weight") else 0.0
            parameter.copy_(centre + scale * torch.randn_like(parameter))
    tokens = [[(17 * row + 11 * index * index) % 64 for index in range(24)] for row in range(2)]
    model.save_pretrained(ROOT)
    (ROOT / "generation_config.json").unlink(missing_ok=True)
    expected = {
        "made_by": f"torch {torch.__version__}, transformers {transformers.__version__}",
        "tokens": tokens,
        # Of every third position.
        "logits": logits(model, tokens)[:, ::3].flatten().tolist(),
    }
    (ROOT / "expected.json").write_text(json.dumps(expected) + "\n")


main()
