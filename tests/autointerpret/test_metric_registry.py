"""Measures by name: none is replaced, none is made up."""

import pytest

from fluoroscope.autointerpret import MetricRegistry
from fluoroscope.errors import ArgumentError


def test_the_block_of_the_document_runs():
    metrics = MetricRegistry()
    metrics.register("logit_diff", max, description="Logit difference recovery")
    metrics.register("logit_diff", max)  # the same again changes nothing
    assert metrics.names == ["logit_diff"]
    assert metrics.get("logit_diff") is max
    assert "logit_diff" in metrics
    assert len(metrics) == 1
    assert [one["name"] for one in metrics.list()] == ["logit_diff"]
    with pytest.raises(ArgumentError, match=r"no metric 'logit_dif'\. Did you mean 'logit_diff'"):
        metrics.get("logit_dif")
    with pytest.raises(ArgumentError, match="there is a metric 'logit_diff' already"):
        metrics.register("logit_diff", min)
    with pytest.raises(ArgumentError, match="is a int"):
        metrics.register("three", 3)
