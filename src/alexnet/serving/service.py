"""An image's bytes to the network's answer: a bounded number at a time, each within a deadline.

    ask ─ admit ─► decoding threads ─► guarded decoder processes ─► batcher ─► forward ─► answer
           │ 503          │ 422: the bytes are no image                │
           └──────────────┴───────────── 504: no answer in time ───────┘

`app` calls it from the event loop. Decoding threads only wait for the processes that decode, so a
hostile image costs its own process and, until that has been ended, one of the threads.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet.images.decoded import UnusableImage
from alexnet.images.decoder_group import count_cores
from alexnet.images.decoder_pool import DecoderPool
from alexnet.images.png import encode_png
from alexnet.predict import Classifier
from alexnet.serving.batcher import MicroBatcher
from alexnet.serving.forward import Answer, BatchForward, Question
from alexnet.serving.limits import RefusedRequest, ServingLimits
from alexnet.serving.metrics import ServingMetrics
from alexnet.sources.entry import UNLABELED, Entry

Record = NDArray[np.uint8]


class InferenceService:
    """Answers questions about images with one network. `close` ends its threads and processes."""

    def __init__(
        self, classifier: Classifier, limits: ServingLimits, metrics: ServingMetrics
    ) -> None:
        self.classifier, self.limits, self.metrics = classifier, limits, metrics
        self.forward = BatchForward(classifier)
        self.in_work = 0
        """Images that were admitted and are not answered yet."""
        self._n_threads = n_threads = max(2, count_cores())
        self._pool = DecoderPool(classifier.options, 1, limits.decode_seconds)
        self._threads = ThreadPoolExecutor(n_threads, "alexnet-decoding")
        self._after = ThreadPoolExecutor(1, "alexnet-answering")
        self._batcher = MicroBatcher[Question, Answer](
            self._answer_batch, limits.batch, limits.gather_seconds
        )

    @property
    def is_alive(self) -> bool:
        """Whether the thread that runs the network is there."""
        return self._batcher.is_alive

    def close(self) -> None:
        """Answer what is waiting, then end all threads and processes."""
        self._batcher.close()
        self._threads.shutdown(cancel_futures=True)
        self._after.shutdown(cancel_futures=True)
        self._pool.close()

    def start_decoders(self) -> None:
        """Start the decoding processes now, so that the first images do not wait for them."""
        pixel = encode_png(np.zeros((1, 1, 3), np.uint8))
        for _ in range(self._n_threads):
            self._threads.submit(self._decode, pixel)

    def check_room(self) -> None:
        """Raise RefusedRequest (503) if the queue is full or the server is shutting down."""
        if not self.is_alive:
            raise RefusedRequest(503, "shutting_down", "the server is shutting down", 5)
        if self.in_work >= self.limits.queue:
            raise RefusedRequest(
                503,
                "busy",
                f"{self.in_work} images are being answered, the most that wait at a time: try "
                "again in a second",
                1,
            )

    async def ask(
        self,
        image: bytes,
        finish: Callable[[Record, Answer], Any],
        *,
        views: int = 1,
        layer: str | None = None,
        explain: bool = False,
    ) -> Any:
        """Decode an image, ask the network, and return what `finish` makes of record and answer.

        `finish` runs in a thread of its own. Raises RefusedRequest: 503 if too many images are in
        work, 422 if the bytes are no image, 504 if the answer takes longer than allowed.
        """
        self.check_room()
        self.in_work += 1
        decoding = self._threads.submit(self._decode, image)
        try:
            async with asyncio.timeout(self.limits.answer_seconds):
                record = await asyncio.wrap_future(decoding)
                question = Question(record, views, layer, explain)
                answer = await asyncio.wrap_future(self._batcher.submit(question))
                _check_finite(answer)
                found = await asyncio.wrap_future(self._after.submit(finish, record, answer))
        except UnusableImage as error:
            self.metrics.images.add("unusable")
            raise RefusedRequest(422, error.reason, str(error)) from None
        except TimeoutError:
            self.metrics.images.add("too_late")
            raise RefusedRequest(
                504, "timeout", f"no answer in {self.limits.answer_seconds:g} seconds", 1
            ) from None
        finally:
            self._release_after(decoding)
        self.metrics.images.add("answered")
        return found

    def _decode(self, image: bytes) -> Record:
        """Decode an image into a record, in a process. Raises UnusableImage."""
        # The pass is finished before anything is raised: the process of an abandoned one is ended.
        ((outcome, record),) = [
            (outcome, None if outcome is None or outcome.reason else record.copy())
            for _, outcome, record in self._pool.prepare([Entry("", "", UNLABELED, image)])
        ]
        assert outcome is not None
        if record is None:
            raise UnusableImage(outcome.reason, outcome.detail)
        return record.reshape(self.classifier.options.record_shape)

    def _answer_batch(self, questions: list[Question]) -> list[Answer]:
        began = time.perf_counter()
        answers = self.forward(questions)
        self.metrics.batches.observe(len(questions))
        self.metrics.network_seconds.observe(time.perf_counter() - began)
        return answers

    def _release_after(self, decoding: Future[Record]) -> None:
        """Make room for another image once this one's decoding has ended.

        It may go on after the client was told that it takes too long, and it holds a thread.
        """
        if decoding.done():
            self.in_work -= 1
            return
        loop = asyncio.get_running_loop()

        def release(_: object) -> None:
            loop.call_soon_threadsafe(self._release)

        decoding.add_done_callback(release)

    def _release(self) -> None:
        self.in_work -= 1


def _check_finite(answer: Answer) -> None:
    """Raise RefusedRequest (500) if the network's output is not finite."""
    if not bool(answer.probabilities.isfinite().all()):
        raise RefusedRequest(
            500, "not_finite", "the network's output is not finite: its training has diverged"
        )
