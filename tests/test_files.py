"""Files are replaced whole or not at all; one process at a time has a folder."""

import errno
import fcntl
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from alexnet import files
from alexnet.files import (
    LOCK,
    append,
    create_file,
    lock_folder,
    replace_bytes,
    replace_file,
    replace_json,
)


@contextmanager
def files_of_at_most(size):
    """No file grows beyond this many bytes, as on a disk that is full."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.fixture
def old(tmp_path):
    """A file that is to be replaced."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    return path


def test_a_file_is_written_flushed_renamed_and_its_folder_flushed_in_this_order(old, monkeypatch):
    steps, fsync, rename = [], os.fsync, os.replace
    inodes = {}

    def write(draft):
        draft.write_bytes(b"new")
        inodes[draft.stat().st_ino], inodes[old.parent.stat().st_ino] = "draft", "folder"
        steps.append(("write", old.read_bytes()))

    def watch_fsync(file):
        fsync(file)
        steps.append((f"fsync {inodes[os.fstat(file).st_ino]}", old.read_bytes()))

    def watch_rename(source, target):
        rename(source, target)
        steps.append(("rename", old.read_bytes()))

    monkeypatch.setattr(os, "fsync", watch_fsync)
    monkeypatch.setattr(os, "replace", watch_rename)
    replace_file(old, write)
    assert steps == [
        ("write", b"old"),
        ("fsync draft", b"old"),
        ("rename", b"new"),
        ("fsync folder", b"new"),
    ]
    assert os.listdir(old.parent) == ["file"]


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_what_ends_a_replacement_before_the_rename_leaves_the_old_file(old, monkeypatch, step):
    def end(*_):
        raise Killed

    if step != "write":
        monkeypatch.setattr(os, step, end)
    with pytest.raises(Killed):
        replace_file(old, end if step == "write" else lambda draft: draft.write_bytes(b"new"))
    assert old.read_bytes() == b"old"
    assert os.listdir(old.parent) == ["file"]


KILLED = """
import os, signal, sys
from pathlib import Path
from alexnet.files import replace_file
def write(draft):
    draft.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
replace_file(Path(sys.argv[1]), write)
"""


def test_the_draft_of_a_killed_process_is_used_again(old):
    for _ in range(3):
        subprocess.run([sys.executable, "-c", KILLED, old])
        assert sorted(os.listdir(old.parent)) == [".file.partial", "file"]
    assert old.read_bytes() == b"old"
    replace_bytes(old, b"new")
    assert old.read_bytes() == b"new"
    assert os.listdir(old.parent) == ["file"]


def test_a_file_may_be_replaced_by_a_link_to_another_one_or_to_itself(old):
    def link(draft):
        draft.unlink()
        os.link(old.parent / "other", draft)

    (old.parent / "other").write_bytes(b"new")
    for _ in range(2):
        replace_file(old, link)
        assert old.samefile(old.parent / "other")
        assert sorted(os.listdir(old.parent)) == ["file", "other"]


def test_a_draft_that_a_kill_has_left_as_a_link_is_not_written_through(old):
    (old.parent / "other").write_bytes(b"other")
    os.link(old.parent / "other", old.parent / ".file.partial")
    replace_bytes(old, b"new")
    assert (old.parent / "other").read_bytes() == b"other"
    assert old.read_bytes() == b"new"
    assert sorted(os.listdir(old.parent)) == ["file", "other"]


def test_a_full_disk_leaves_the_old_file(old):
    with files_of_at_most(100), pytest.raises(OSError, match="File too large"):
        replace_bytes(old, b"new" * 100)
    assert old.read_bytes() == b"old"
    assert os.listdir(old.parent) == ["file"]


def test_a_file_in_a_folder_that_is_missing_cannot_be_written(tmp_path):
    with pytest.raises(FileNotFoundError):
        replace_bytes(tmp_path / "missing" / "file", b"new")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to every folder")
def test_a_file_in_a_folder_that_cannot_be_written_stays(old):
    old.parent.chmod(0o500)
    try:
        with pytest.raises(PermissionError):
            replace_bytes(old, b"new")
    finally:
        old.parent.chmod(0o700)
    assert old.read_bytes() == b"old"


def test_two_replacements_of_a_file_at_once_have_drafts_of_their_own(old):
    def write(draft):
        draft.write_bytes(b"first")
        replace_bytes(old, b"second")  # as another process may while this one writes
        assert old.read_bytes() == b"second"
        assert draft.read_bytes() == b"first"

    replace_file(old, write)
    assert old.read_bytes() == b"first"
    assert os.listdir(old.parent) == ["file"]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_folder_that_cannot_be_flushed_is_no_error(old, monkeypatch, number):
    fsync, folder = os.fsync, old.parent.stat().st_ino

    def refuse_folders(file):
        if os.fstat(file).st_ino == folder:
            raise OSError(number, os.strerror(number))
        fsync(file)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    replace_bytes(old, b"new")
    assert old.read_bytes() == b"new"


def test_a_file_is_written_where_there_are_no_locks_but_a_folder_is_not_locked(old, monkeypatch):
    def refuse(file, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    replace_bytes(old, b"new")
    assert old.read_bytes() == b"new"
    with pytest.raises(OSError, match="No locks"), lock_folder(old.parent, "training"):
        pass


def test_json_is_ascii_whatever_is_in_it(tmp_path):
    content = {"name": "naïve 猫 \udcff", "numbers": [1, 0.5, None]}
    replace_json(tmp_path / "facts.json", content)
    text = (tmp_path / "facts.json").read_bytes()
    assert text.isascii()
    assert text.endswith(b"}\n")
    assert json.loads(text) == content


def test_what_is_no_json_leaves_the_old_file(old):
    with pytest.raises(TypeError):
        replace_json(old, {"folder": old})
    assert old.read_bytes() == b"old"


def test_appended_lines_are_whole_or_absent(tmp_path):
    path = tmp_path / "log"
    append(path, b"one\n")
    with files_of_at_most(8), pytest.raises(OSError, match="File too large"):
        append(path, b"three\n")
    append(path, b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"


def test_a_locked_folder_is_refused_and_free_afterwards(tmp_path):
    with lock_folder(tmp_path, "training"):
        refused = pytest.raises(BlockingIOError, match=r"another process is training in .* Wait")
        with refused, lock_folder(tmp_path, "training"):
            pass
        assert os.listdir(tmp_path) == [LOCK]
    assert os.listdir(tmp_path) == []
    with lock_folder(tmp_path, "packing"):
        pass


HOLDING = """
import sys
from pathlib import Path
from alexnet.files import lock_folder
with lock_folder(Path(sys.argv[1]), "training"):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_lock_of_another_process_holds_until_it_is_killed(tmp_path):
    command = [sys.executable, "-c", HOLDING, tmp_path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"locked\n"
        with pytest.raises(BlockingIOError), lock_folder(tmp_path, "training"):
            pass
        child.kill()
        child.wait()
        assert os.listdir(tmp_path) == [LOCK]  # which means nothing now
        with lock_folder(tmp_path, "training"):
            pass
    assert os.listdir(tmp_path) == []


def test_a_lock_file_that_its_owner_removes_while_it_is_opened_is_made_anew(tmp_path, monkeypatch):
    path, flock, opened = tmp_path / LOCK, fcntl.flock, []

    def remove_once(file, operation):
        opened.append(os.fstat(file).st_ino)
        if len(opened) == 1:
            path.unlink()
            path.touch()  # a third process makes it
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", remove_once)
    with lock_folder(tmp_path, "training"):
        assert len(opened) == 2
        assert path.stat().st_ino == opened[1] != opened[0]


def test_the_lock_of_another_process_in_a_folder_made_again_is_left_alone(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    with lock_folder(folder, "training"):
        (folder / LOCK).unlink()
        folder.rmdir()
        folder.mkdir()
        (folder / LOCK).touch()  # another process has locked the new folder
    assert os.listdir(folder) == [LOCK]


@pytest.mark.parametrize("number", files.NOT_WRITABLE)
def test_a_folder_that_cannot_be_written_is_not_locked(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    with lock_folder(tmp_path, "training"):
        pass
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_missing_is_not_locked(tmp_path):
    with pytest.raises(FileNotFoundError), lock_folder(tmp_path / "missing", "training"):
        pass


def replace_often(path, letter):
    for _ in range(100):
        replace_bytes(path, letter * 10_000)


def test_processes_that_replace_a_file_at_once_never_mix_their_bytes(tmp_path):
    path = tmp_path / "file"
    replace_bytes(path, b"a" * 10_000)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=replace_often, args=(path, x)) for x in (b"a", b"b")]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        assert path.read_bytes() in (b"a" * 10_000, b"b" * 10_000)
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert os.listdir(tmp_path) == ["file"]


def write_private(draft):
    """Put another file in the draft's place that only its owner can read, as safetensors does."""
    draft.unlink()
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT, 0o600))


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_file_is_readable_as_the_umask_says_whatever_wrote_it(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        replace_file(tmp_path / "private", write_private)
        create_file(tmp_path / "new", write_private)
        replace_bytes(tmp_path / "bytes", b"content")
        append(tmp_path / "log", b"line")
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {mode}


def test_a_private_draft_that_a_kill_has_left_does_not_make_the_file_private(old):
    draft = old.with_name(".file.partial")
    draft.write_bytes(b"half")
    draft.chmod(0o600)
    before = os.umask(0o022)
    try:
        replace_bytes(old, b"new")
    finally:
        os.umask(before)
    assert old.read_bytes() == b"new"
    assert old.stat().st_mode & 0o777 == 0o644
