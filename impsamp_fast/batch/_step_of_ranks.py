"""The step of a selector whose large batch is that of all ranks of a process group."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from impsamp_fast._seeds import seed_of_step
from impsamp_fast.batch._nested import narrow
from impsamp_fast.batch._of_ranks import OfRanks, drawn_of
from impsamp_fast.batch._pool import Rows
from impsamp_fast.batch._row_drawer import Drawn
from impsamp_fast.batch.minibatch import MiniBatch
from impsamp_fast.batch.start import After, Always, StartRule
from impsamp_fast.batch.together import Together
from impsamp_fast.distributed._ranks import Ranks
from impsamp_fast.distributed._select import Scores, Share

if TYPE_CHECKING:
    from impsamp_fast.batch.selector import Selector


def ranks_that_draw(selector: "Selector", group: Any) -> OfRanks:
    """The ranks that draw together, once all that they cannot do together is refused."""
    refused = {
        "score": selector._learned is not None,
        "method": not isinstance(selector.method, str),
        "filter": selector.filter is not None,
        "batches_per_pool": selector.batches_per_pool > 1,
        "whole_uniform": selector.whole_uniform,
        "on_fault": selector.on_fault != "raise",
        "rank": selector.rank is not None,
        "small_batch": selector.exchange and selector.small_batch == "all",
    }
    for name, is_given in refused.items():
        if is_given:
            raise ValueError(
                f"{name} is {getattr(selector, name)!r}, which the ranks of a group cannot have in "
                "common: leave out group, and each rank draws from its own rows"
            )
    of_ranks = OfRanks(group, selector.exchange)
    if selector.exchange and selector.n % of_ranks.ranks.size:
        raise ValueError(
            f"n is {selector.n}, but exchange=True shares it out equally among "
            f"{of_ranks.ranks.size} ranks"
        )
    return of_ranks


def rule_together(rule: StartRule, of_ranks: OfRanks) -> StartRule:
    """The rule by which all ranks decide alike."""
    if not isinstance(rule, Together):
        return rule if rule.learns_from == "nothing" else Together(rule, of_ranks.ranks.group)
    if Ranks(rule.group).group is not of_ranks.ranks.group:
        raise ValueError(
            "start is Together with another group than this one, so that other ranks would "
            "take part in the decision: give it the same group, or leave out Together"
        )
    return rule


def step_of_ranks(
    selector: "Selector", of_ranks: OfRanks, x: Any, y: Any, index: Tensor | None
) -> MiniBatch | None:
    """The mini-batch of a step from the rows of all ranks."""

    def look() -> int:
        nonlocal x, y, index
        x, y, index = selector._roles(x, y, index)
        if selector.counts is not None and index is None:
            raise ValueError("index is missing, and counts is about the samples of a data set")
        selector._look_at_last_steps()
        return selector._check_batch(x, y, index)

    def batch() -> Any:
        return (x, y) if index is None else (x, y, index)

    scored: list[Scores] = []

    def scores() -> Scores:
        selector._try_model(True, x, y, y.shape[0])
        scored.append(selector._scores_of(x, y, index))
        return scored[-1]

    def scores_at_once() -> Scores:
        look()
        selector._log.begin(y.device, selector._rule)
        return scores()

    terms = {"step": selector._step, "n": int(selector.n)}
    seed = seed_of_step(selector._seed, selector._step)
    # What decides by the step alone decides before a word is said, and its first word is all,
    # unless rows that are too few must not be scored.
    goes_by_step = isinstance(selector._rule, Always | After) and selector.small_batch == "raise"
    if goes_by_step and selector._rule.decide(selector._step, selector.n, selector.n):
        begun = of_ranks.begin_scored(terms, seed, scores_at_once, batch, selector._drawer())
    else:
        begun = of_ranks.begin(terms, seed, look, batch)
    K, before = int(begun.sizes.sum()), int(begun.sizes[: of_ranks.ranks.rank].sum())
    selector._check_size(K)
    importance = selector._decide(K)
    if importance is None:
        return None
    if begun.scored is None:
        selector._log.begin(y.device, selector._rule)
    n = min(int(selector.n), K)
    if importance:
        drawer = selector._drawer()
        if begun.scored is None:
            begun = of_ranks.begin_scored(terms, seed, scores, batch, drawer)
        assert begun.scored is not None
        share = of_ranks.by_importance(begun.scored, n, drawer)
    else:
        of_ranks.try_once(lambda: selector._try_model(False, x, y, y.shape[0]))
        share = of_ranks.uniformly(begun, n, y.device)
    selector._log.mark("selection")
    numbers = index
    if numbers is None:
        numbers = torch.arange(y.shape[0], device=y.device) + before * selector.exchange
    mine = of_ranks.hand_out(share, x, y, numbers)
    own = mine.weight.numel() if of_ranks.exchange else int((share.index >= 0).sum())
    selector._log.mark("gather")
    if not importance and selector._wanted <= K and selector._rule.learns_from == "tau":
        drawn = _with_tau(selector, of_ranks, share, mine, own, index)
    else:
        drawn = drawn_of(share, scored[-1] if scored else None)
    selector._log.note(selector._step, importance, K, drawn, narrow(mine.y, 0, own))
    selector._count(mine.numbers[mine.weight > 0])
    selector._learn(drawn)
    return selector._made(*mine, importance, of_ranks.share(n))


def _with_tau(
    selector: "Selector",
    of_ranks: OfRanks,
    share: Share,
    mine: Rows,
    own: int,
    index: Tensor | None,
) -> Drawn:
    """Rows that were drawn uniformly, ``own`` of them here, with what the scores of all say."""
    scored: list[Scores] = []

    def make() -> Scores:
        numbers = None if index is None else mine.numbers
        scores, left_out = selector._scores_of(mine.x, mine.y, numbers)
        scored.append(Scores(scores[:own], None if left_out is None else left_out[:own]))
        return scored[-1]

    tau = of_ranks.tau(selector._drawer(), make)
    return drawn_of(share._replace(tau=tau), scored[-1])
