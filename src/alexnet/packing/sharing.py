"""Packing with several processes under torchrun, on one machine or several.

Rank 0 makes the pack as if it were alone; the others decode for it. The images of a split are cut
into blocks of BLOCK consecutive ones, and rank r of N decodes the blocks r, r + N, r + 2N, …:

    images    │ block 0 │ block 1 │ block 2 │ block 3 │ …
    decoded by   rank 0    rank 1    rank 2    rank 0
    rank 0    reads the results in this order, from its own decoders or from a connection, and
              writes shards, journal and pack.json as always

So the pack has the same bytes with any number of processes, and what a kill leaves behind can be
continued by any other number. Only the images need to be readable on every machine, not the pack.
A result is a line of JSON, with the name of the image, and the bytes of its record. Rank 0 compares
the name and the size of the file: a machine that has other images is an error that names it.

Images that are in memory or come out of a compressed stream are read by every process. The images
of an update, most of which need not be decoded, are decoded by rank 0 alone. `commands.pack` calls
`share` on every rank; imports no torch.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from alexnet.connections import MAX_LINE, connect, identify, introduce, listen, make_token
from alexnet.images.decoder_group import DecoderGroup
from alexnet.images.decoder_process import Item, Prepared, Record
from alexnet.images.preparation import PreparationResult, RecordOptions, compute_fingerprint
from alexnet.sources.entry import Entry, Source

if TYPE_CHECKING:
    from io import BufferedRWPair

    from alexnet.processes import World

    File = BufferedRWPair[Any, Any]

BLOCK = 32
"""Consecutive images that one process decodes."""
SECONDS = 60.0
"""Time that the processes have to connect to rank 0."""
Made = TypeVar("Made")


def share(
    world: World,
    open_images: Callable[[], Source],
    n_decoders: int,
    make: Callable[[Helpers | None], Made],
) -> Made | None:
    """Call `make` on rank 0, with the other processes as helpers; they return None when it is done.

    `open_images` opens the images on a helper, which starts `n_decoders` decoding processes. Raises
    ConnectionError on a rank if the other end of its connection has ended before the pack was made.
    """
    if world.size == 1:
        return make(None)
    listener = listen(world.address) if world.rank == 0 else None
    place = {"port": listener.getsockname()[1] if listener else 0, "token": make_token()}
    first = world.gather(place)[0]
    if listener is None:
        with connect(world.address, first["port"], SECONDS) as connection:
            connection.settimeout(None)
            _serve(connection, open_images(), n_decoders, world, first["token"])
        return None
    with listener:
        helpers = Helpers(_accept(listener, world.size, first["token"]))
    with contextlib.closing(helpers):
        made = make(helpers)
        helpers.finish()
    return made


class Helpers:
    """On rank 0: the other processes, which decode for it. `connections` are in order of rank."""

    def __init__(self, connections: list[socket.socket]) -> None:
        self._connections = connections
        self._files: list[File] = [each.makefile("rwb") for each in connections]

    def prepare(
        self, group: DecoderGroup, items: Iterable[Item | Prepared], split: str, position: int
    ) -> Iterator[tuple[Item, PreparationResult | None, Record]]:
        """Yield every item in order with its result and its record, as `DecoderGroup.prepare` does.

        `items` are those of the split from this position. Raises ConnectionError if a process has
        ended, and ValueError if one has other images.
        """
        task = {"split": split, "position": position, "timeout": group.timeout}
        for file in self._files:
            _write(file, {**task, "options": dataclasses.asdict(group.options)})
        n_ranks, record = 1 + len(self._files), np.empty(group.options.record_bytes, np.uint8)
        all_items, to_choose_from = itertools.tee(items)
        own_results = group.prepare(_choose(to_choose_from, 0, n_ranks))
        for index, item in enumerate(all_items):
            rank = _find_rank(index, n_ranks)
            if rank == 0:
                yield next(own_results)
            elif isinstance(item, Entry):
                yield item, _receive(self._files[rank - 1], rank, item, record), record
            else:
                assert not isinstance(item, Prepared)
                yield item, None, record
        next(own_results, None)  # the group is free for another pass

    def finish(self) -> None:
        """Tell the other processes that the pack is made."""
        for file in self._files:
            with contextlib.suppress(OSError):
                _write(file, {"end": True})

    def close(self) -> None:
        """Close the connections."""
        for file, connection in zip(self._files, self._connections, strict=True):
            with contextlib.suppress(OSError):
                file.close()
            connection.close()


def _accept(listener: socket.socket, size: int, token: str) -> list[socket.socket]:
    """Return the connections of ranks 1 to size − 1. Raises ConnectionError if one is missing."""
    found: dict[int, socket.socket] = {}
    ends = time.monotonic() + SECONDS
    while len(found) < size - 1:
        listener.settimeout(max(0.01, ends - time.monotonic()))
        try:
            connection, _ = listener.accept()
            connection.settimeout(max(0.01, ends - time.monotonic()))
            rank = identify(_read_first(connection), token)
        except (OSError, ValueError, RecursionError) as error:
            if time.monotonic() < ends:
                continue
            missing = ", ".join(str(rank) for rank in range(1, size) if rank not in found)
            raise ConnectionError(f"rank {missing} did not connect in {SECONDS:g} s") from error
        if rank is None or rank in found or not 0 < rank < size:
            connection.close()
            continue
        connection.settimeout(None)
        found[rank] = connection
    return [found[rank] for rank in sorted(found)]


def _read_first(connection: socket.socket) -> dict[str, Any]:
    """Return the first message of a connection, byte by byte: what follows it stays there."""
    line = b""
    while not line.endswith(b"\n") and len(line) < MAX_LINE and (byte := connection.recv(1)):
        line += byte
    message = json.loads(line)
    return message if isinstance(message, dict) else {}


def _serve(
    connection: socket.socket, source: Source, n_decoders: int, world: World, token: str
) -> None:
    """Decode what rank 0 asks for, until the pack is made."""
    file = connection.makefile("rwb")
    _write(file, introduce(world.rank, token))
    while "end" not in (task := _read(file, 0)):
        options = RecordOptions(**task["options"])
        items = itertools.islice(source.entries(task["split"]), task["position"], None)
        with DecoderGroup(options, n_decoders, task["timeout"]) as group:
            for item, result, record in group.prepare(_choose(items, world.rank, world.size)):
                if result is not None:
                    _send(file, item.name, result, record)
        file.flush()


def _find_rank(index: int, n_ranks: int) -> int:
    """Return which rank decodes an item."""
    return index // BLOCK % n_ranks


def _choose(items: Iterable[Item | Prepared], rank: int, n_ranks: int) -> Iterator[Item | Prepared]:
    """Yield the items that a rank decodes."""
    return (item for index, item in enumerate(items) if _find_rank(index, n_ranks) == rank)


def _send(file: File, name: str, result: PreparationResult, record: Record) -> None:
    """Send a result and, if the image is used, its record."""
    moments = None if result.moments is None else result.moments.tolist()
    fields = {**dataclasses.asdict(result), "digest": result.digest.hex(), "moments": moments}
    _write(file, {"name": name, "result": fields}, flush=False)
    if not result.reason:
        file.write(record.data)


def _receive(file: File, rank: int, item: Entry, record: Record) -> PreparationResult:
    """Return the result of an item; write its record, if it has one, into `record`."""
    message = _read(file, rank)
    fields = message["result"]
    _check_same_file(item, message["name"], fields, rank)
    moments = fields["moments"]
    result = PreparationResult(
        compute_fingerprint(item.content),
        fields["reason"],
        fields["detail"],
        tuple(fields["notes"]),
        bytes.fromhex(fields["digest"]),
        None if moments is None else np.array(moments, np.int64),
        fields["size"],
    )
    if not result.reason and file.readinto(record.data) < record.nbytes:
        raise _make_error(rank)
    return result


def _check_same_file(item: Entry, name: str, fields: dict[str, Any], rank: int) -> None:
    """Raise ValueError if another process has decoded another file than this one has."""
    if name != item.name:
        raise ValueError(
            f"rank {rank} has {name!r} where rank 0 has {item.name!r}: copy the same images to "
            "every machine, or use one folder that all of them see"
        )
    with contextlib.suppress(OSError):
        n_bytes = item.content.stat().st_size if isinstance(item.content, Path) else fields["size"]
        if not fields["reason"] and n_bytes != fields["size"]:
            raise ValueError(
                f"{item.name} has {fields['size']} bytes for rank {rank} and {n_bytes} for rank 0: "
                "copy the same images to every machine"
            )


def _write(file: File, message: dict[str, Any], flush: bool = True) -> None:
    """Write a message. Raises OSError if the other end has ended."""
    file.write(json.dumps(message).encode() + b"\n")
    if flush:
        file.flush()


def _read(file: File, rank: int) -> dict[str, Any]:
    """Read a message. Raises ConnectionError if the other end, this rank, has ended."""
    try:
        line = file.readline()
    except OSError as error:
        raise _make_error(rank) from error
    if not line.endswith(b"\n"):
        raise _make_error(rank)
    message: dict[str, Any] = json.loads(line)
    return message


def _make_error(rank: int) -> ConnectionError:
    return ConnectionError(
        f"rank {rank} ended before the pack was finished: its message has the reason. Give the "
        "same command again: packing continues where it stopped"
    )
