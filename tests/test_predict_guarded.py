"""Predictions of hostile images: nothing in their bytes harms the calling program."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

import alexnet
from alexnet.images import decoder_process
from alexnet.images.decoded import UnusableImage
from tests.conftest import picture
from tests.test_predict import encoded

WICKED = Path(__file__).parents[0] / "images" / "misbehaving_decoder.py"


@pytest.fixture
def classifier(run):
    with alexnet.load(run, device="cpu") as classifier:
        yield classifier


@pytest.fixture
def wicked(monkeypatch, classifier):
    """Decoders that crash and hang on request."""
    monkeypatch.setattr(decoder_process, "PROGRAM", WICKED)
    classifier._decoders.timeout = 0.5


def processes(decoders) -> list[int]:
    """Return the ids of the decoding processes that are idle."""
    return [w.process.pid for idle in decoders._idle for w in idle._processes]


def runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.usefixtures("wicked")
@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"crash", "decoder_crashed"), (b"hang", "decoder_hung"), (b"greedy", "too_much_memory")],
)
def test_an_image_that_kills_its_decoder_is_an_error_of_that_image(classifier, content, reason):
    if reason == "too_much_memory" and not Path("/proc/self/statm").exists():
        pytest.skip("memory is counted in /proc")
    good = encoded(picture(1, 5))
    found = classifier.predict([good, content, good])
    assert [x.error is None for x in found] == [True, False, True]
    assert found[1].error.startswith(reason)
    with pytest.raises(UnusableImage) as caught:
        classifier.predict(content)
    assert caught.value.reason == reason
    assert classifier.predict(good).labels == found[0].labels


@pytest.mark.usefixtures("wicked")
def test_every_method_decodes_in_separate_processes(classifier):
    for method in (classifier.probabilities, classifier.logits, classifier.features):
        with pytest.raises(UnusableImage, match="the decoder ended with signal"):
            method([encoded(picture(1, 5)), b"crash"])


def test_processes_are_started_when_needed_and_reused(classifier):
    decoders = classifier._decoders
    classifier.predict(picture(0, 1))
    assert processes(decoders) == []
    classifier.predict(encoded(picture(0, 1)))
    (first,) = processes(decoders)  # one image needs one process
    classifier.predict([encoded(picture(0, 1))] * 3)
    assert processes(decoders) == [first]
    classifier.close()
    assert not runs(first)
    assert classifier.predict(encoded(picture(0, 1))).labels  # it can be used after close


def test_processes_end_with_the_classifier(run):
    classifier = alexnet.load(run, device="cpu")
    classifier.predict(encoded(picture(0, 1)))
    (process,) = processes(classifier._decoders)
    del classifier
    assert not runs(process)


def test_processes_end_with_the_program():
    code = f"""
import sys
sys.path[:0] = {sys.path!r}
import numpy as np
from tests.test_predict_guarded import processes, runs
from alexnet.images.decoder_pool import DecoderPool
from alexnet.images.preparation import RecordOptions
from alexnet.sources.entry import Entry
decoders = DecoderPool(RecordOptions(size=8), 1)
list(decoders.prepare([Entry("", "", 0, {encoded(picture(0, 1))!r})]))
print(processes(decoders)[0])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not runs(int(done.stdout))


def test_several_threads_can_predict_at_once(classifier):
    images = [encoded(picture(k % 3, k)) for k in range(24)]
    alone = [classifier.predict(image) for image in images]
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(classifier.predict, images))
    assert found == alone


def test_a_stream_can_be_interleaved_with_other_predictions_and_closed_early(classifier):
    images = [encoded(picture(k % 3, k)) for k in range(300)]
    whole = classifier.predict(images)
    begun = classifier.stream(images)
    assert next(begun) == whole[0]
    assert classifier.predict(images[:1]) == [classifier.predict(images[0])]
    assert next(begun) == whole[1]
    begun.close()
    assert classifier.predict(images[:150]) == whole[:128] + classifier.predict(images[128:150])
    assert threading.active_count() < 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_has_decoders_of_its_own():
    code = f"""
import os, sys
sys.path[:0] = {sys.path!r}
import numpy as np
from tests.test_predict_guarded import processes, runs
from alexnet.images.decoder_pool import DecoderPool
from alexnet.images.preparation import RecordOptions
from alexnet.sources.entry import Entry
entry = Entry("", "", 0, {encoded(picture(0, 1))!r})
decoders = DecoderPool(RecordOptions(size=8), 1)
ours = [record.copy() for *_, record in decoders.prepare([entry])]
mine = processes(decoders)
child = os.fork()
if child == 0:
    theirs = [record.copy() for *_, record in decoders.prepare([entry])]
    good = np.array_equal(ours, theirs) and processes(decoders) != mine
    decoders.close()
    os._exit(0 if good else 7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert processes(decoders) == mine and runs(mine[0])
assert np.array_equal(ours, [record for *_, record in decoders.prepare([entry])])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_folders_and_devices_are_not_read(classifier, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    found = classifier.predict([tmp_path / "pipe", tmp_path, "/dev/zero", tmp_path / "none"])
    reasons = [x.error.split(":")[0] for x in found]
    assert reasons == ["not_a_file", "not_a_file", "not_a_file", "unreadable"]
    with pytest.raises(FileNotFoundError, match="none: No such file"):
        classifier.predict(tmp_path / "none")


def test_a_damaged_image_of_pillow_is_an_error_of_its_own(classifier):
    import io

    from PIL import Image

    whole = encoded(picture(1, 5, 64))
    cut = Image.open(io.BytesIO(whole[: len(whole) // 2]))
    found = classifier.predict([picture(1, 5), cut])
    assert [x.error is None for x in found] == [True, False]
    assert found[1].error.startswith("truncated")


def test_a_pil_image_is_rotated_as_its_exif_orientation_says(run, classifier):
    import io

    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(picture(1, 5)[:20], exif=exif)
    opened = Image.open(io.BytesIO(content))
    assert torch.equal(classifier.logits(content), classifier.logits(opened))
