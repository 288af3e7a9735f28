"""The networks of the tasks."""

from bench.tasks import TASKS


def test_networks_have_the_papers_size() -> None:
    for name, weights in (("two-circles", 252), ("mnist", 21_840), ("cifar10", 126_730)):
        network = TASKS[name].network()
        assert sum(parameter.numel() for parameter in network.parameters()) == weights
