"""The registry of strategies: a name for each, and the paper that it comes from."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, final, get_args

Level = Literal["batch", "dataset"]

# What every strategy of the data set may be told.
_OF_THE_TRAINING = ("epochs", "classes")

_Factory = TypeVar("_Factory", bound=Callable[..., Any])


@final
@dataclass(frozen=True)
class Strategy:
    """A way to choose what to train on, as a paper describes it: call it to make one.

    Attributes:
        name: as it is registered.
        level: ``"batch"`` for rows of a large batch, ``"dataset"`` for samples of a data set.
        make: the class or the factory; its parameters have the paper's values as defaults.
        bibtex: the BibTeX entries of what it comes from, empty for a baseline without a paper.
    """

    name: str
    level: Level
    make: Callable[..., Any]
    bibtex: str

    def __call__(self, *args: Any, **parameters: Any) -> Any:
        """What ``make`` returns for these arguments.

        Strategies of the data set are all called alike, with ``epochs=`` and ``classes=`` of the
        training, so that one loop can compare them: a sampler gets what it takes of these two.
        """
        if self.level == "dataset":
            taken = inspect.signature(self.make).parameters
            if all(parameter.kind != parameter.VAR_KEYWORD for parameter in taken.values()):
                for name in _OF_THE_TRAINING:
                    if name not in taken:
                        parameters.pop(name, None)
        return self.make(*args, **parameters)

    @property
    def description(self) -> str:
        """The docstring of ``make``: the equation, its source and the parameters."""
        return inspect.getdoc(self.make) or ""

    def citation(self) -> str:
        """The BibTeX entries, as one text; empty for a baseline without a paper."""
        return self.bibtex


_strategies: dict[str, Strategy] = {}


def register(name: str, *, level: Level, bibtex: str) -> Callable[[_Factory], _Factory]:
    """Registers the factory or class that follows under a name; a decorator.

    ::

        @register("largest-margin", level="batch", bibtex="@article{...}")
        def largest_margin(model, n, *, seed=None):
            return Selector(model, n, score="margin", method="topk", seed=seed)

    Args:
        name: of the strategy.
        level: ``"batch"`` if the factory is called with a model and n and returns what is called
            with ``(x, y)``, ``"dataset"`` if it is called with a size, and with ``epochs=`` and
            ``classes=`` where it takes them, and returns a sampler of the data set's indices.
        bibtex: the entries of the papers, separated by an empty line; empty without a paper.

    Returns:
        A decorator that returns the factory as it is. One that is defined again, as by a notebook's
        cell that runs twice, takes the place of its former self.

    Raises:
        ValueError: if the level is unknown; by the decorator, if another factory has the name.
    """
    _check_level(level)

    def decorate(make: _Factory) -> _Factory:
        former = _strategies.get(name)
        if former is not None and _where(former.make) != _where(make):
            raise ValueError(f"the name {name!r} is taken, by {former.make}: choose another")
        _strategies[name] = Strategy(name, level, make, inspect.cleandoc(bibtex))
        return make

    return decorate


def get(name: str) -> Strategy:
    """The strategy of that name.

    Raises:
        ValueError: if there is none; the message lists those that there are.
    """
    try:
        return _strategies[name]
    except KeyError:
        raise ValueError(
            f"no strategy is called {name!r}; there are: {', '.join(_strategies)}"
        ) from None


def names(level: Level | None = None) -> list[str]:
    """The names of all strategies, or of those of one level, in the order of registration.

    Raises:
        ValueError: if there is no such level.
    """
    if level is not None:
        _check_level(level)
    return [name for name, strategy in _strategies.items() if level in (None, strategy.level)]


def make(name: str, *args: Any, **parameters: Any) -> Any:
    """Makes the strategy of that name, see its ``description`` for the arguments.

    Raises:
        ValueError: if there is none of that name; and what its factory raises.
    """
    return get(name)(*args, **parameters)


def citation(*names: str) -> str:
    """The BibTeX entries behind the named strategies, every entry once.

    Raises:
        ValueError: if there is no strategy of that name.
    """
    entries: dict[str, None] = {}
    for name in names:
        for entry in get(name).bibtex.split("\n\n"):
            if entry:
                entries[entry] = None
    return "\n\n".join(entries)


def _where(make: Callable[..., Any]) -> Any:
    """What a definition keeps when it is run again; a factory without a name is only itself."""
    name = getattr(make, "__qualname__", "<lambda>")
    return make if name.endswith("<lambda>") else (make.__module__, name)


def _check_level(level: str) -> None:
    if level not in get_args(Level):
        raise ValueError(f"level is {level!r}, expected one of {', '.join(get_args(Level))}")
