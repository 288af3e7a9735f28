"""What the tests of strategies of the batch get besides."""

import pytest

from impsamp_fast.batch import graph_step
from tests.batch.graph_training import Recorder


@pytest.fixture
def recorder(monkeypatch):
    """Makes a GraphStep record on the CPU."""

    def install(step):
        stand_in = Recorder(step)
        monkeypatch.setattr(graph_step, "recorder_for", lambda device: stand_in)
        return stand_in

    return install
