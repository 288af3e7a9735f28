"""What else a user could write or install: each peer does the same job as one of our operators.

A file has one peer. None of their packages is needed: a peer that is not installed, or does not
work here, is a peer less, and the reason stands in the result.
"""

from typing import Any

from bench.operators.peers import (
    by_compiler,
    composer,
    eager,
    liger,
    linear_cross_entropy,
    multinomial,
    numpy_choice,
    opacus,
    quack,
    row_loop,
    topk,
    torch_func,
    torchrl,
    weighted_sampler,
)
from bench.operators.peers.peer import Job, Peer, error_line
from bench.operators.timing import Candidates
from bench.report.operator_tables import OURS

PEERS: dict[str, Peer] = {
    module.PEER.name: module.PEER
    for module in (
        eager,
        by_compiler,
        linear_cross_entropy,
        row_loop,
        torch_func,
        opacus,
        multinomial,
        topk,
        numpy_choice,
        weighted_sampler,
        torchrl,
        composer,
        liger,
        quack,
    )
}


def candidates(job: Job, *inputs: Any) -> tuple[Candidates, dict[str, str]]:
    """Our call and those of all peers that do a job; and why those do not that cannot here."""
    calls, missing = {OURS: job.ours(*inputs)}, {}
    for name, peer in PEERS.items():
        if job not in peer.jobs:
            continue
        reason = peer.available()
        if reason is None:
            try:
                calls[name] = peer.jobs[job](*inputs)
                calls[name]()
            except Exception as error:
                calls.pop(name, None)
                reason = error_line(error)
        if reason is not None:
            missing[name] = reason
    return calls, missing
