"""Counts and durations in Prometheus' text format, version 0.0.4, written by hand.

A `ServingMetrics` belongs to one app. `guard` and `service` count into it, GET /metrics prints it:

    # HELP alexnet_http_requests_total Requests that were answered.
    # TYPE alexnet_http_requests_total counter
    alexnet_http_requests_total{path="/v1/predict",method="POST",status="200"} 17

The format is https://prometheus.io/docs/instrumenting/exposition_formats/. Imports nothing of this
package. All classes can be used by several threads.
"""

from __future__ import annotations

import bisect
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0
BATCHES = 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0
"""Upper bounds of the buckets of durations and of batch sizes."""

Labels = tuple[str, ...]


class CounterMetric:
    """A number per combination of labels that only grows."""

    kind = "counter"

    def __init__(self, name: str, help: str, labels: Sequence[str] = ()) -> None:
        self.name, self.help, self.labels = name, help, tuple(labels)
        self._lock = threading.Lock()
        self._values: dict[Labels, float] = {} if labels else {(): 0.0}

    def add(self, *labels: str, amount: float = 1.0) -> None:
        """Add to the number with these values of the labels."""
        with self._lock:
            self._values[labels] = self._values.get(labels, 0.0) + amount

    def lines(self) -> Iterator[str]:
        """Yield a line for each combination of labels that has been seen."""
        with self._lock:
            values = sorted(self._values.items())
        for labels, value in values:
            yield format_sample(self.name, dict(zip(self.labels, labels, strict=True)), value)


class GaugeMetric:
    """A number that is asked for when it is printed."""

    kind = "gauge"

    def __init__(
        self,
        name: str,
        help: str,
        read: Callable[[], float],
        labels: Mapping[str, str] | None = None,
    ) -> None:
        self.name, self.help, self.read = name, help, read
        self._labels = dict(labels or {})

    def lines(self) -> Iterator[str]:
        """Yield the line with the present number."""
        yield format_sample(self.name, self._labels, self.read())


class HistogramMetric:
    """Observed numbers, counted in buckets, with their sum, per combination of labels."""

    kind = "histogram"

    def __init__(
        self, name: str, help: str, bounds: Sequence[float], labels: Sequence[str] = ()
    ) -> None:
        self.name, self.help = name, help
        self.bounds, self.labels = tuple(bounds), tuple(labels)
        self._lock = threading.Lock()
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}

    def observe(self, value: float, *labels: str) -> None:
        """Count a number."""
        with self._lock:
            counts = self._counts.setdefault(labels, [0] * (len(self.bounds) + 1))
            counts[bisect.bisect_left(self.bounds, value)] += 1
            self._sums[labels] = self._sums.get(labels, 0.0) + value

    def lines(self) -> Iterator[str]:
        """Yield cumulative buckets, sum and count for each combination of labels."""
        with self._lock:
            kept = [(key, list(self._counts[key]), self._sums[key]) for key in sorted(self._counts)]
        for key, counts, total in kept:
            labels, running = dict(zip(self.labels, key, strict=True)), 0
            for bound, count in zip((*self.bounds, float("inf")), counts, strict=True):
                running += count
                bucket = {**labels, "le": format_number(bound)}
                yield format_sample(f"{self.name}_bucket", bucket, running)
            yield format_sample(f"{self.name}_sum", labels, total)
            yield format_sample(f"{self.name}_count", labels, running)


Metric = CounterMetric | GaugeMetric | HistogramMetric


class ServingMetrics:
    """Everything that GET /metrics prints."""

    def __init__(self) -> None:
        began = time.time()
        self.requests = CounterMetric(
            "alexnet_http_requests_total",
            "Requests that were answered.",
            ("path", "method", "status"),
        )
        self.seconds = HistogramMetric(
            "alexnet_http_request_seconds",
            "Seconds from a request's headers to the end of its answer.",
            SECONDS,
            ("path",),
        )
        self.images = CounterMetric(
            "alexnet_images_total",
            "Images that were received, by what became of them.",
            ("outcome",),
        )
        self.batches = HistogramMetric(
            "alexnet_batch_images", "Images per batch of the network.", BATCHES
        )
        self.network_seconds = HistogramMetric(
            "alexnet_batch_seconds", "Seconds that the network took for a batch.", SECONDS
        )
        self._metrics: list[Metric] = [
            self.requests,
            self.seconds,
            self.images,
            self.batches,
            self.network_seconds,
        ]
        self.watch("alexnet_start_time_seconds", "Unix time of the start.", lambda: began)

    def watch(
        self,
        name: str,
        help: str,
        read: Callable[[], float],
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Add a gauge whose value is asked of `read` whenever the metrics are printed."""
        self._metrics.append(GaugeMetric(name, help, read, labels))

    def render(self) -> str:
        """Return all metrics as text."""
        lines = []
        for metric in self._metrics:
            lines.append(f"# HELP {metric.name} {escape_help(metric.help)}")
            lines.append(f"# TYPE {metric.name} {metric.kind}")
            lines.extend(metric.lines())
        return "\n".join(lines) + "\n"


def format_sample(name: str, labels: Mapping[str, str], value: float) -> str:
    """Return one line: name, labels in braces if there are any, value."""
    pairs = ",".join(f'{key}="{escape_label(text)}"' for key, text in labels.items())
    return (
        f"{name}{{{pairs}}} {format_number(value)}" if pairs else f"{name} {format_number(value)}"
    )


def format_number(value: float) -> str:
    """Return a number as Prometheus reads it: whole numbers without a point, infinity as +Inf."""
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    if value != value:
        return "NaN"
    return (
        str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))
    )


def escape_label(text: str) -> str:
    """Escape backslash, quotation mark and line feed in the value of a label."""
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def escape_help(text: str) -> str:
    """Escape backslash and line feed in a help text."""
    return text.replace("\\", r"\\").replace("\n", r"\n")
