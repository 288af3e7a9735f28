"""Models and data sets that take milliseconds, as the trainers take them."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

SIZE, TOKENS, WORDS = 96, 8, 32


class Sentences(Dataset[dict[str, Tensor]]):
    """Random tokens, padded to different lengths, and labels of one of three kinds."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(index)
        ids = torch.randint(WORDS, (TOKENS,), generator=generator)
        mask = torch.arange(TOKENS) < 3 + index % 6
        labels = {
            "sequence": (ids[0] > WORDS // 2).long(),
            "token": (ids > WORDS // 2).long().where(mask, -100),
            "causal": ids.where(mask, -100),
        }
        return {
            "input_ids": ids,
            "attention_mask": mask.long(),
            "labels": labels[self.kind],
        }


def language_model(kind: str) -> Any:
    """The model that the labels are for."""
    from transformers import (
        BertConfig,
        BertForSequenceClassification,
        BertForTokenClassification,
        GPT2Config,
        GPT2LMHeadModel,
    )

    torch.manual_seed(3)
    if kind == "causal":
        sizes = {"n_positions": TOKENS, "n_embd": 16, "n_layer": 1, "n_head": 2}
        words = {"vocab_size": WORDS, "bos_token_id": 0, "eos_token_id": 0}
        return GPT2LMHeadModel(GPT2Config(**words, **sizes))
    config = BertConfig(
        vocab_size=WORDS,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=TOKENS,
        num_labels=2,
    )
    if kind == "token":
        return BertForTokenClassification(config)
    return BertForSequenceClassification(config)


class Points(Dataset[tuple[Tensor, Tensor]]):
    """Rows of five numbers and their classes."""

    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(5, generator=torch.Generator().manual_seed(index))
        return x, (x[0] > 0).long()


def classifier() -> nn.Sequential:
    """The model for them."""
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2))
