"""Whatever is wrong with an argument of a selector, the error says what."""

import pytest
import torch
from torch import nn

from impsamp_fast.batch.draw_rules import LossSplit
from impsamp_fast.batch.filters import AccuracyFilter
from impsamp_fast.batch.selector import Selector
from impsamp_fast.batch.start import After
from impsamp_fast.dataset.pick_counts import PickCounts
from tests.toy import K, N


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"n": 0}, ValueError, "n is 0, expected at least 1"),
            ({"n": 12.5}, TypeError, "n is 12.5, expected an integer"),
            ({"seed": 1.5}, TypeError, "seed is 1.5, expected an integer or None"),
            ({"seed": "1"}, TypeError, "seed is '1', expected an integer or None"),
            ({"score": "foo"}, ValueError, "foo"),
            ({"method": "foo"}, ValueError, "foo"),
            ({"correction": "foo"}, ValueError, "foo"),
            ({"smoothing": 1.5}, ValueError, "smoothing"),
            ({"score": 3}, TypeError, "score is 3, expected a str or a function"),
            ({"score": nn.Linear}, TypeError, "expected a str or a function"),
            ({"method": LossSplit}, TypeError, r"expected a str or a rule such as LossSplit\(\)"),
            ({"method": LossSplit(), "correction": "foo"}, ValueError, "foo"),
            ({"score": torch.rand, "smoothing": 1.5}, ValueError, "smoothing"),
            (
                {"filter": AccuracyFilter},
                TypeError,
                r"expected a filter such as AccuracyFilter\(\)",
            ),
            ({"layer": 3, "score": "last_layer"}, TypeError, "layer is 3, expected a str"),
            ({"layer": "2"}, ValueError, "layer is '2', but only score \"last_layer\""),
            (
                {"small_batch": "drop"},
                ValueError,
                "small_batch is 'drop', expected one of",
            ),
            ({"ignore_index": 0.5}, TypeError, "ignore_index is 0.5, expected an integer or None"),
            ({"start": After}, TypeError, "expected a start rule"),
            ({"start": 100}, TypeError, "start is 100, expected a start rule"),
            ({"model": torch.relu}, TypeError, r"expected an nn\.Module"),
        ],
    )
    def test_of_the_constructor_is_found_at_once(self, model, arguments, error, message):
        with pytest.raises(error, match=message):
            Selector(**{"model": model, "n": N, "start": After(100)} | arguments)

    def test_stores_arguments_unchanged(self, model):
        arguments = {
            "score": "loss",
            "method": "race",
            "correction": 0.5,
            "smoothing": 0.25,
            "filter": AccuracyFilter(0.1),
            "start": None,
            "dropout": True,
            "small_batch": "skip",
            "counts": PickCounts(3),
            "label_smoothing": 0.1,
            "class_weight": None,
            "ignore_index": None,
            "seed": None,
        }
        selector = Selector(model, N, **arguments)
        assert selector.model is model
        assert selector.n == N
        assert {name: getattr(selector, name) for name in arguments} == arguments

    @pytest.mark.parametrize(
        ("x", "y", "error", "message"),
        [
            (torch.zeros(8, 5), torch.zeros(7), ValueError, r"x has shape \[8, 5\], but y has 7"),
            ({"a": torch.zeros(3)}, torch.zeros(4), ValueError, r"x\['a'\] has shape \[3\]"),
            ((torch.zeros(4), [torch.zeros(())]), torch.zeros(4), ValueError, r"x\[1\]\[0\] has"),
            ((torch.zeros(4), "text"), torch.zeros(4), TypeError, r"x\[1\] is str, expected"),
            (torch.zeros(4, 5), [1, 2], TypeError, "y is list, expected a tensor"),
            (torch.zeros(4, 5), torch.tensor(1), ValueError, "y is a scalar"),
        ],
    )
    def test_of_a_call_is_named(self, model, x, y, error, message):
        with pytest.raises(error, match=message):
            Selector(model, 2)(x, y)

    @pytest.mark.parametrize(
        ("index", "error", "message"),
        [
            (torch.zeros(K - 1), ValueError, r"index has shape \[63\], expected \[64\]"),
            (torch.zeros(K, 1), ValueError, r"index has shape \[64, 1\], expected \[64\]"),
            (list(range(K)), TypeError, "index is list, expected a tensor"),
        ],
    )
    def test_of_the_index_is_named(self, model, data, index, error, message):
        with pytest.raises(error, match=message):
            Selector(model, N)(*data, index)

    def test_a_large_batch_smaller_than_n(self, model, data):
        x, y = data
        with pytest.raises(ValueError, match=r"n is 65, but the large batch .* 64 rows.*drop_last"):
            Selector(model, K + 1)(x, y)

    @pytest.mark.parametrize(
        ("forward", "error", "message"),
        [
            (
                lambda x: x.reshape(K // 2, 2, 5),
                ValueError,
                r"shape \[32, 2, 5\], expected \[64, C",
            ),
            (lambda x: x.unsqueeze(1), ValueError, r"shape \[64, 1, 5\], expected \[64, C\]"),
            (lambda x: x[:9], ValueError, r"logits of shape \[9, 5\], expected \[64, C\]"),
            (
                lambda x: (x[0], 1),
                TypeError,
                "the model returned tuple, expected a tensor of logits",
            ),
            (lambda x: x * torch.nan, ValueError, "logits"),
        ],
    )
    def test_of_the_model_is_named_and_counts_no_step(self, data, forward, error, message):
        model = nn.Module()
        model.forward = forward
        selector = Selector(model, N)
        before = selector.state_dict()
        with pytest.raises(error, match=message):
            selector(*data)
        assert selector.state_dict() == before
