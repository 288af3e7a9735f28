"""The registry: a name for each strategy, its level, its paper, and what its factory is told."""

import re

import pytest
from torch import nn

from impsamp_fast import Bandit, InfoBatch, strategies
from impsamp_fast.batch.selector import Selector
from impsamp_fast.strategies import registry


class TestRegistry:
    @pytest.fixture(autouse=True)
    def restored(self, monkeypatch):
        monkeypatch.setattr(registry, "_strategies", dict(registry._strategies))

    def test_knows_the_strategies_of_the_batch(self):
        assert strategies.names("batch") == [
            "uniform",
            "random-subset",
            "highest-loss",
            "highest-loss-cdf",
            "gradient-norm",
            "gradient-norm-cdf",
            "kf18",
            "kf18-biased",
            "constant-time",
            "constant-variance",
            "last-layer-norm",
            "el2n",
            "top-k",
            "top-q",
            "loss-weighted",
            "loss-split",
            "hard-accuracy",
            "soft-accuracy",
            "selective-backprop",
            "divbs",
            "autoassist",
            "rho-loss",
            "mentornet-pd",
            "mentornet",
            "es",
            "pods",
        ]
        assert strategies.names() == strategies.names("batch") + strategies.names("dataset")

    def test_a_strategy_is_one_decorator(self):
        @strategies.register("margin", level="batch", bibtex="@misc{a}\n\n@misc{b}")
        def margin(model, n, *, method="topk"):
            """The smallest margins."""
            return Selector(model, n, score="margin", method=method)

        strategy = strategies.get("margin")
        assert (strategy.name, strategy.level, strategy.make) == ("margin", "batch", margin)
        assert strategy.description == "The smallest margins."
        assert strategies.names("batch")[-1] == "margin"
        assert "margin" not in strategies.names("dataset")
        for made in (strategy(nn.Identity(), 2), strategies.make("margin", nn.Identity(), n=2)):
            assert (made.score, made.method, made.n) == ("margin", "topk", 2)
        assert strategies.make("margin", nn.Identity(), 2, method="pps").method == "pps"

    def test_a_name_is_taken_once(self):
        before = strategies.get("kf18")
        with pytest.raises(ValueError, match="the name 'kf18' is taken"):

            @strategies.register("kf18", level="batch", bibtex="")
            def other(model, n):
                return Selector(model, n)

        assert strategies.get("kf18") is before

    def test_a_definition_that_runs_again_takes_the_place_of_its_former_self(self):
        def cell(method):
            @strategies.register("mine", level="batch", bibtex="")
            def mine(model, n):
                return Selector(model, n, method=method)

        cell("pps")
        cell("race")
        assert strategies.make("mine", nn.Identity(), 2).method == "race"
        assert strategies.names().count("mine") == 1

    def test_a_sampler_is_told_what_it_takes_of_the_training(self):
        sampler = strategies.make("infobatch", 10, epochs=7, classes=3)
        assert (type(sampler), sampler.epochs) == (InfoBatch, 7)
        assert type(strategies.make("bandit", 10, epochs=7, classes=3)) is Bandit
        with pytest.raises(TypeError, match="unheard"):
            strategies.make("bandit", 10, epochs=7, classes=3, unheard=1)

    def test_a_factory_of_any_options_is_told_all_of_it(self):
        @strategies.register("mine", level="dataset", bibtex="")
        def mine(size, *, classes, **options):
            return InfoBatch(size, ratio=1 / classes, **options)

        sampler = strategies.make("mine", 10, epochs=7, classes=4)
        assert (sampler.epochs, sampler.ratio) == (7, 0.25)

    def test_functions_without_a_name_are_each_their_own(self):
        register = strategies.register("nameless", level="batch", bibtex="")
        first = register(lambda model, n: Selector(model, n))
        register(first)
        with pytest.raises(ValueError, match="the name 'nameless' is taken"):
            register(lambda model, n: Selector(model, n, method="topk"))

    def test_a_level_is_one_of_two(self):
        with pytest.raises(ValueError, match="level is 'row', expected one of batch, dataset"):
            strategies.register("new", level="row", bibtex="")

    def test_names_are_of_a_level_that_there_is(self):
        with pytest.raises(ValueError, match="level is 'bacth', expected one of batch, dataset"):
            strategies.names("bacth")

    @pytest.mark.parametrize("ask", [strategies.get, strategies.make, strategies.citation])
    def test_an_unknown_name_lists_the_known(self, ask):
        with pytest.raises(
            ValueError, match="no strategy is called 'kf19'; there are: uniform, ran"
        ):
            ask("kf19")

    def test_cites_every_paper_once(self):
        both = strategies.citation("kf18", "uniform", "kf18-biased")
        assert re.findall(r"^@\w+\{(\w+),", both, re.MULTILINE) == [
            "katharopoulos2018not",
            "katharopoulos2017biased",
        ]
        assert strategies.citation("uniform") == strategies.citation() == ""
        assert strategies.get("kf18").citation() == strategies.citation("kf18")

    @pytest.mark.parametrize("name", strategies.names())
    def test_every_strategy_has_a_description_and_a_paper(self, name):
        strategy = strategies.get(name)
        assert strategy.description.count("\n") > 3
        text = strategy.citation()
        assert text.count("{") == text.count("}")
        baselines = ("uniform", "random-subset", "random-pruning")
        assert bool(re.match(r"@\w+\{\w+,\n", text)) == (name not in baselines)
