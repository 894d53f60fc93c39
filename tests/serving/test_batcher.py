"""Questions answered in batches by one thread."""

import threading
from concurrent.futures import CancelledError

import pytest

from alexnet.serving.batcher import MicroBatcher


class Recorder:
    """Answers with the double, and keeps the batches; the first waits until it may go on."""

    def __init__(self):
        self.batches, self.begun, self.go = [], threading.Event(), threading.Event()

    def __call__(self, questions):
        self.batches.append(list(questions))
        self.begun.set()
        assert self.go.wait(30)
        return [ValueError("odd") if x % 2 else 2 * x for x in questions]


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def batcher(recorder):
    batcher = MicroBatcher(recorder, 4, 0.001)
    yield batcher
    recorder.go.set()
    batcher.close()


def test_what_arrives_while_the_thread_is_busy_makes_batches_of_the_given_size(batcher, recorder):
    first = batcher.submit(0)
    assert recorder.begun.wait(30)
    others = [batcher.submit(x) for x in range(2, 14, 2)]
    recorder.go.set()
    assert [x.result(30) for x in (first, *others)] == [0, 4, 8, 12, 16, 20, 24]
    assert recorder.batches == [[0], [2, 4, 6, 8], [10, 12]]


def test_an_error_belongs_to_its_question_only(batcher, recorder):
    recorder.go.set()
    good, bad = batcher.submit(2), batcher.submit(3)
    assert good.result(30) == 4
    with pytest.raises(ValueError, match="odd"):
        bad.result(30)


def test_if_a_batch_fails_all_its_questions_fail_and_the_next_one_is_answered():
    def answer(questions):
        if questions == [1]:
            raise RuntimeError("broken")
        return questions

    batcher = MicroBatcher(answer, 4, 0.0)
    with pytest.raises(RuntimeError, match="broken"):
        batcher.submit(1).result(30)
    assert batcher.submit(2).result(30) == 2
    batcher.close()


def test_a_cancelled_question_is_not_answered(batcher, recorder):
    batcher.submit(0)
    assert recorder.begun.wait(30)
    cancelled, kept = batcher.submit(2), batcher.submit(4)
    assert cancelled.cancel()
    recorder.go.set()
    assert kept.result(30) == 8
    assert recorder.batches == [[0], [4]]
    with pytest.raises(CancelledError):
        cancelled.result(30)


def test_what_waits_is_answered_at_the_end_and_nothing_is_taken_after(batcher, recorder):
    waiting = batcher.submit(2)
    recorder.go.set()
    batcher.close()
    assert waiting.result(0) == 4
    assert not batcher.is_alive
    with pytest.raises(RuntimeError, match="shutting down"):
        batcher.submit(4)
