"""One thread that answers questions in small batches: the network's only user.

A question waits until the thread is free. The thread then takes everything that has arrived, waits
a moment for more if the batch is not full, and answers the batch at once:

    arrivals   a    b c      d e f g              h
    batches    [a]──────►    [b c d e]──────►     [f g h]──────►
                └ busy        └ collected meanwhile

So a lone client waits for nobody, and under load batches grow by themselves. The number of waiting
questions is bounded by `service`, which admits them. Imports nothing of this package.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


class MicroBatcher(Generic[Q, A]):
    """Answers questions by `answer(questions)`, which returns an answer or an error for each.

    At most `size` questions make a batch; the first one waits `gather_seconds` for others. If
    `answer` raises, all questions of the batch get that error. The thread ends with `close`.
    """

    def __init__(
        self,
        answer: Callable[[list[Q]], Sequence[A | Exception]],
        size: int,
        gather_seconds: float,
    ) -> None:
        self._answer, self._size, self._gather_seconds = answer, size, gather_seconds
        self._waiting: deque[tuple[Q, Future[A]]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="alexnet-network", daemon=True)
        self._thread.start()

    def submit(self, question: Q) -> Future[A]:
        """Put a question in the queue. Raises RuntimeError after `close`.

        A question whose future is cancelled before its batch begins costs nothing.
        """
        future: Future[A] = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError("the server is shutting down")
            self._waiting.append((question, future))
            self._changed.notify()
        return future

    @property
    def is_alive(self) -> bool:
        """Whether questions are still answered."""
        return self._thread.is_alive() and not self._closed

    def close(self) -> None:
        """Answer what is waiting, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while batch := self._take_batch():
            self._answer_batch(batch)

    def _take_batch(self) -> list[tuple[Q, Future[A]]]:
        """Wait for questions; return a batch of those that are still wanted, or [] at the end."""
        batch: list[tuple[Q, Future[A]]] = []
        while not batch:
            with self._changed:
                while not self._waiting:
                    if self._closed:
                        return []
                    self._changed.wait()
                self._gather()
                taken = [
                    self._waiting.popleft() for _ in range(min(self._size, len(self._waiting)))
                ]
            batch = [pair for pair in taken if pair[1].set_running_or_notify_cancel()]
        return batch

    def _gather(self) -> None:
        """Wait until the batch is full, or for the time that a first question waits for others."""
        deadline = time.monotonic() + self._gather_seconds
        while len(self._waiting) < self._size and not self._closed:
            left = deadline - time.monotonic()
            if left <= 0 or not self._changed.wait(left):
                return

    def _answer_batch(self, batch: list[tuple[Q, Future[A]]]) -> None:
        questions = [question for question, _ in batch]
        try:
            answers: Sequence[A | Exception] = self._answer(questions)
        except Exception as error:  # noqa: BLE001 - it is raised where the answer is awaited
            answers = [error] * len(batch)
        for (_, future), answer in zip(batch, answers, strict=True):
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
