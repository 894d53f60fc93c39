"""Prometheus' text format."""

import re

import pytest

from alexnet.serving.metrics import (
    CounterMetric,
    HistogramMetric,
    ServingMetrics,
    format_number,
    format_sample,
)

SAMPLE = re.compile(
    r'[a-zA-Z_:][a-zA-Z0-9_:]*(\{([a-z_]+="([^"\\\n]|\\["\\n])*",?)+\})? '
    r"(NaN|[+-]Inf|-?[0-9.]+(e[+-]?\d+)?)"
)


def test_labels_are_escaped():
    found = format_sample("a_total", {"path": 'x"y\\z\nw'}, 1)
    assert found == 'a_total{path="x\\"y\\\\z\\nw"} 1'


@pytest.mark.parametrize(
    ("value", "text"),
    [(3, "3"), (0.25, "0.25"), (float("inf"), "+Inf"), (float("-inf"), "-Inf"), (1e20, "1e+20")],
)
def test_numbers_are_written_as_prometheus_reads_them(value, text):
    assert format_number(value) == text
    assert format_number(float("nan")) == "NaN"


def test_a_counter_without_labels_begins_at_zero_and_one_with_labels_has_no_lines():
    assert list(CounterMetric("a", "").lines()) == ["a 0"]
    counter = CounterMetric("b", "", ("x",))
    assert list(counter.lines()) == []
    counter.add("1")
    counter.add("1", amount=2)
    assert list(counter.lines()) == ['b{x="1"} 3']


def test_buckets_are_cumulative_and_bounds_belong_to_them():
    histogram = HistogramMetric("s", "", (1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9.0):
        histogram.observe(value)
    assert list(histogram.lines()) == [
        's_bucket{le="1"} 2',
        's_bucket{le="2"} 3',
        's_bucket{le="+Inf"} 4',
        "s_sum 12",
        "s_count 4",
    ]


def test_every_metric_has_its_help_and_type_once_before_its_samples():
    metrics = ServingMetrics()
    metrics.requests.add("/", "GET", "200")
    metrics.seconds.observe(0.1, "/")
    metrics.watch("g", "a\nb\\c", lambda: 2.5, {"model": 'x"'})
    lines = metrics.render().split("\n")
    assert lines[-1] == ""
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(names) == len(set(names))
    assert "# HELP g a\\nb\\\\c" in lines
    for line in lines[:-1]:
        assert line.startswith("# ") or SAMPLE.fullmatch(line), line


def test_prometheus_own_parser_reads_the_text():
    parser = pytest.importorskip("prometheus_client.parser")
    metrics = ServingMetrics()
    metrics.requests.add("/", "GET", "200")
    families = list(parser.text_string_to_metric_families(metrics.render()))
    assert "alexnet_http_requests" in {family.name for family in families}
