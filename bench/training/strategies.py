"""Which strategies a comparison sets beside each other: those of the registry, and some of its own.

What a strategy does is said by its factory in `impsamp_fast.strategies`. Here is only what a
comparison adds: how a strategy looks in figures, and from when it may choose.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import cycle, product

from bench.report.results import DEFAULT, ROW_LOOP
from bench.tasks.task import Task
from bench.training.recipe import Recipe, split_name
from impsamp_fast import strategies

ALL, BASELINES = "all", "baselines"  # names of groups
UNSCORED = ("uniform", "random-subset")  # their factories take no start rule: they never score
OWN_RULE = ("constant-time", "constant-variance")  # nor do these, which have one
NUMBERED = ("es", "rho-loss")  # go by the samples' numbers


@dataclass(frozen=True)
class Strategy:
    """A strategy as a comparison shows it."""

    name: str
    label: str
    colour: str
    line: str = "-"
    factory: str = ""  # its name in the registry, if that is another one
    start: str | None = None  # None: the comparison's; "epoch": after one epoch
    row_loop: bool = False
    fast: bool = False  # scores by the task's fast_scoring
    batches_per_pool: int = 1
    whole_uniform: bool = False
    recipe: Recipe = field(default_factory=Recipe)

    @property
    def level(self) -> str:
        return "batch" if self.row_loop else self.registered.level

    @property
    def base(self) -> str:
        """The name without its recipe's."""
        return self.name.removesuffix(self.recipe.suffix)

    @property
    def in_registry(self) -> str:
        """Its name there."""
        return self.factory or self.base

    @property
    def takes_numbers(self) -> bool:
        return self.in_registry in NUMBERED

    @property
    def registered(self) -> strategies.Strategy:
        return strategies.get(self.in_registry)

    def trained_by(self, recipe: Recipe, colour: str, line: str) -> "Strategy":
        """The same choice of rows under another name, with other looks."""
        name, label = self.name + recipe.suffix, self.label + recipe.label
        return replace(self, name=name, label=label, recipe=recipe, colour=colour, line=line)

    def start_rule(self, start: str, task: Task, size: int) -> str | None:
        """When it begins to choose, where `start` is the comparison's rule."""
        if self.level == "dataset" or self.base in UNSCORED + OWN_RULE:
            return None
        rule = self.start or start
        return f"after:{size // task.mini}" if rule == "epoch" else rule


# Those of the paper. Colours are of Okabe and Ito's palette, which colour-blind readers can tell
# apart.
STRATEGIES = {
    strategy.name: strategy
    for strategy in (
        Strategy("uniform", "uniform", "#000000"),
        Strategy("highest-loss", "highest loss", "#E69F00"),
        Strategy("highest-loss-cdf", "highest loss CDF", "#D55E00"),
        # With two classes it ranks as the loss does; dashed, both curves are seen.
        Strategy("gradient-norm", "gradient norm", "#56B4E9", line="--"),
        Strategy("gradient-norm-cdf", "gradient norm CDF", "#0072B2"),
        # The library's default: the same draws, but weighted so that the mean loss is estimated
        # without bias. It is KF18 with the start rule of the others.
        Strategy(
            DEFAULT,
            "gradient norm CDF, unbiased",
            "#0072B2",
            line="--",
            factory="kf18",
        ),
        # The threshold of its authors' runs. With these batches the break-even ("variance") is 3.7,
        # which Two Circles does not reach in 3,000 steps.
        Strategy("kf18", "KF18", "#009E73", start="variance:1.5"),
        # Only here for its cost, so it scores from the first step.
        Strategy(
            ROW_LOOP,
            "gradient norm CDF, row loop",
            "#CC79A7",
            start="always",
            row_loop=True,
        ),
    )
}

# The same with the fastest scoring pass that is known for the network, and with fewer passes.
FAST = {
    strategy.name: strategy
    for strategy in (
        Strategy(
            "gradient-norm-cdf-fast",
            "gradient norm CDF, fast scoring",
            "#0072B2",
            line="-.",
            factory="gradient-norm-cdf",
            fast=True,
        ),
        Strategy(
            "gradient-norm-cdf-unbiased-fast",
            "gradient norm CDF, unbiased, fast scoring",
            "#009E73",
            line="--",
            factory="kf18",
            fast=True,
        ),
        Strategy(
            "gradient-norm-cdf-unbiased-pool4",
            "gradient norm CDF, unbiased, 4 mini-batches a large batch",
            "#999999",
            line="--",
            factory="kf18",
            batches_per_pool=4,
        ),
        Strategy(
            "gradient-norm-cdf-unbiased-fast-pool2",
            "gradient norm CDF, unbiased, fast scoring, 2 mini-batches a large batch",
            "#CC79A7",
            line="--",
            factory="kf18",
            fast=True,
            batches_per_pool=2,
        ),
        Strategy(
            "break-even",
            "unbiased, fast scoring, while it pays",
            "#D55E00",
            line="--",
            factory="kf18",
            start="break-even",
            fast=True,
            whole_uniform=True,
        ),
    )
}

# Where a paper has a start rule of its own; all others take the comparison's.
OWN_START = {"kf18-biased": "variance:1.5", "selective-backprop": "epoch"}
COLOURS = (
    *dict.fromkeys(strategy.colour for strategy in STRATEGIES.values()),
    "#999999",
    # Of Paul Tol's muted scheme, which they can tell apart as well.
    "#882255",
    "#332288",
    "#44AA99",
    "#999933",
    "#AA4499",
    "#117733",
    "#CC6677",
    "#DDCC77",
    "#88CCEE",
)
LINES = (":", "-.", "--", "-")


# What a choice of rows has to beat: uniform sampling trained as well as it can be without one, and
# rows chosen at random from as many. Those of the data-set level have "random-pruning" besides.
UNIFORM = STRATEGIES["uniform"]
STRONG = {
    strategy.name: strategy
    for strategy in (
        UNIFORM.trained_by(Recipe(decayed=True), "#000000", "--"),
        UNIFORM.trained_by(Recipe(compiled=True), "#000000", "-."),
        UNIFORM.trained_by(Recipe(compiled=True, decayed=True), "#000000", ":"),
        Strategy("random-subset", "random subset", "#999999", line=":"),
    )
}
OURS = STRATEGIES | FAST | STRONG
# Compared if no names are given. Compiled baselines take a while before the clock runs.
USUAL = (*STRATEGIES, "uniform-decayed", "random-subset")
GROUPS = {ALL: strategies.names, BASELINES: lambda: [UNIFORM.name, *STRONG]}


def known() -> dict[str, Strategy]:
    """All strategies by name: those of the paper first, then the others of the registry."""
    others = [name for name in strategies.names() if name not in OURS]
    return OURS | {
        name: Strategy(name, name, colour, line, start=OWN_START.get(name))
        for name, (colour, line) in zip(others, free_looks(OURS.values()), strict=False)
    }


def free_looks(taken: Iterable[Strategy]) -> Iterator[tuple[str, str]]:
    """Colours and lines that none of these has, over and over."""
    looks = [(strategy.colour, strategy.line) for strategy in taken]
    return cycle((c, line) for line, c in product(LINES, COLOURS) if (c, line) not in looks)


def is_known(name: str) -> bool:
    """Whether it is a strategy's, with or without a recipe."""
    return name in (strategy_of := known()) or split_name(name)[0] in strategy_of


def find(names: list[str]) -> list[Strategy]:
    """The strategies of those names, or SystemExit naming the unknown one and the known.

    "all" stands for all of the registry, "baselines" for those that the others have to beat. Any
    name may end in "-compiled", "-decayed" or both, its recipe.
    """
    strategy_of = known()
    looks = free_looks(strategy_of.values())
    found: dict[str, Strategy] = {}
    for name in names:
        for each in GROUPS[name]() if name in GROUPS else [name]:
            if not is_known(each):
                raise SystemExit(f'no strategy "{each}"; there are {", ".join(strategy_of)}')
            base, recipe = split_name(each)
            found[each] = strategy_of.get(each) or strategy_of[base].trained_by(
                recipe, *next(looks)
            )
    return list(found.values())


def beyond_the_paper(names: Iterable[str]) -> bool:
    """Whether others than the paper's strategies, fast or not, and baselines are among them."""
    return any(split_name(name)[0] not in OURS for name in names)
