"""Strategies of the literature by name, each with its paper.

::

    from impsamp_fast import strategies

    strategies.names("batch")
    selector = strategies.make("kf18", model, n=128)
    print(strategies.get("kf18").description)
    print(strategies.citation("kf18", "highest-loss"))

A strategy is a small composition of the parts that the package exports; its factory is the place
to read which parts these are.
"""

# Importing a module registers its strategies, in the order in which names() lists them.
# isort: off
from impsamp_fast.strategies import baselines as baselines
from impsamp_fast.strategies import knutsson as knutsson
from impsamp_fast.strategies import katharopoulos as katharopoulos
from impsamp_fast.strategies import norms as norms
from impsamp_fast.strategies import assist as assist
from impsamp_fast.strategies import jiang as jiang
from impsamp_fast.strategies import hong as hong
from impsamp_fast.strategies import zhang as zhang
from impsamp_fast.strategies import mindermann as mindermann
from impsamp_fast.strategies import mentor as mentor
from impsamp_fast.strategies import cheng as cheng
from impsamp_fast.strategies import xu as xu
from impsamp_fast.strategies import datasets as datasets
# isort: on

from impsamp_fast.strategies.registry import Strategy, citation, get, make, names, register

__all__ = ["Strategy", "citation", "get", "make", "names", "register"]
