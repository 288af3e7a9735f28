"""The dtypes of logits."""

import torch

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
