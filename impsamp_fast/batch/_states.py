"""Saved states: what those of all strategies of the batch have in common."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from impsamp_fast._checks import check_saved_integers
from impsamp_fast.batch.start import StartRule
from impsamp_fast.dataset.pick_counts import PickCounts


def device_of(model: nn.Module, otherwise: torch.device) -> torch.device:
    """That of a model's parameters; of a model without any, the other."""
    parameter = next(model.parameters(), None)
    return otherwise if parameter is None else parameter.device


def load_rule_and_counts(
    owner: str, rule: StartRule, counts: PickCounts | None, state: Mapping[str, Any]
) -> None:
    """Loads ``state["start"]`` and ``state["counts"]``, both or neither."""
    if (state["counts"] is None) != (counts is None):
        have, lack = ("the state", f"this {owner}")
        if state["counts"] is None:
            have, lack = lack, have
        raise ValueError(
            f"{have} counts picks and {lack} does not: make the {owner} with the same counts= as "
            "the one that was saved"
        )
    before = rule.state_dict()
    rule.load_state_dict(state["start"])
    if counts is not None:
        try:
            counts.load_state_dict(state["counts"])
        except Exception:
            rule.load_state_dict(before)
            raise


def check_seed_and_step(state: Mapping[str, Any], *counts: str) -> None:
    """Checks the ``seed``, the ``step`` and further counts of a saved state."""
    check_saved_integers(state, "seed")
    check_saved_integers(state, "step", *counts, least=0)
