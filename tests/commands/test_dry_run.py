"""The time of a step that `alexnet train --dry-run` expects."""

import pytest

from alexnet.commands import dry_run


class Clock:
    """A clock that only steps move: each takes the next of these times, the last one for ever."""

    def __init__(self, *times):
        self.now, self.times, self.steps = 5.0, list(times), 0

    def perf_counter(self):
        return self.now

    def step(self):
        self.now += self.times[min(self.steps, len(self.times) - 1)]
        self.steps += 1


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ((4.0, 0.3, 0.15, 0.1), 0.1),  # kernels are compiled, then memory is taken
        ((9.0, 2.0), 2.0),  # slow: two steps, of which the first is not counted
        ((1.0, 2.0, 2.0), 2.0),
        ((0.001,), 0.001),
    ],
)
def test_the_first_steps_are_not_timed(monkeypatch, times, expected):
    clock = Clock(*times)
    monkeypatch.setattr(dry_run, "time", clock)
    assert dry_run.time_warm(clock.step) == pytest.approx(expected)
    assert clock.steps <= dry_run.WARM_UP + dry_run.STEPS
    assert clock.now - 5.0 <= dry_run.LONGEST + sum(times[:2])
