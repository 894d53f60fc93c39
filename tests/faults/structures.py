"""Mutators for specific formats, which recompute checksums and lengths after a change."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable

from tests.faults.mutate import (
    NUMBERS,
    TEXTS,
    Mutated,
    Mutator,
    change_bytes,
    change_json,
    change_lines,
    change_text,
    pack_number,
)

BLOCK = 512
TAR_FIELDS = {
    "name": (0, 100), "mode": (100, 8), "size": (124, 12), "time": (136, 12), "type": (156, 1),
    "link": (157, 100), "magic": (257, 8), "device": (329, 16), "prefix": (345, 155),
    "more sparse": (482, 1), "size in a sparse header": (483, 12),
}  # fmt: skip
TAR_KINDS = b"0123456LKxgXSDVMN\x00\xff"
NPY_KINDS = (
    *("|u1", "<i8", "<f4", "|O", "<U9", "|S0", "<M8[s]", ">i8", "|b1", "<f2", "<c16", "|V8"),
    *("<U1000000000", "[('a', '<i4')]", "|u1' + 'x", "nonsense"),
)
META_CRC = "alexnet_crc32"
SOF = tuple(range(0xC0, 0xD0))


def change_tar(chance: random.Random, content: bytes) -> Mutated:
    """A field of a header, its checksum computed again."""
    headers = [
        at for at in range(0, len(content), BLOCK) if content[at + 257 : at + 262] == b"ustar"
    ]
    if not headers or chance.random() < 0.3:
        return change_bytes(chance, content)
    at, name = chance.choice(headers), chance.choice((*TAR_FIELDS, "size", "type", "name"))
    start, size = TAR_FIELDS[name]
    new = _tar_field(chance, name, size)
    block = bytearray(content[at : at + BLOCK])
    block[start : start + size] = new
    return _tar_summed(content, at, block), f"header at {at}: {name} = {new[:30]!r}"


def _tar_field(chance: random.Random, name: str, size: int) -> bytes:
    if name == "type":
        return bytes([chance.choice(TAR_KINDS)])
    if name in ("name", "link", "prefix"):
        return chance.choice(TEXTS).encode("utf-8", "surrogatepass")[:size].ljust(size, b"\0")
    if name == "magic" or size < 8:
        return chance.randbytes(size)
    number = chance.choice((*NUMBERS, 512, 100_000, 1 << 30))
    if chance.random() < 0.4:  # GNU's form: the first bit set, then big-endian
        first = bytes([0xFF if number < 0 else 0x80])
        return first + (number % (1 << 8 * (size - 1))).to_bytes(size - 1, "big")
    return f"{abs(number):o}".encode()[-(size - 1) :].rjust(size - 1, b"0") + b"\0"


def _tar_summed(content: bytes, at: int, block: bytearray) -> bytes:
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return content[:at] + bytes(block) + content[at + BLOCK :]


def compressed(
    unpack: Callable[[bytes], bytes], pack: Callable[[bytes], bytes], inner: Mutator
) -> Mutator:
    """Mutate what a compressed file holds, or now and then the file itself."""

    def change(chance: random.Random, content: bytes) -> Mutated:
        if chance.random() < 0.3:
            return change_bytes(chance, content)
        try:
            plain = unpack(content)
        except Exception:  # noqa: BLE001 - it has been mutated before
            return change_bytes(chance, content)
        changed, what = inner(chance, plain)
        return pack(changed), f"inside: {what}"

    return change


def change_safetensors(chance: random.Random, content: bytes) -> Mutated:
    """The header of a safetensors file, its length put right; half of the time our metadata."""
    size = int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8 : 8 + size])
        if chance.random() < 0.7:
            meta = header["__metadata__"]
            text, what = change_json(chance, meta["alexnet"].encode())
            meta["alexnet"] = text.decode("utf-8", "replace")
            if chance.random() < 0.8:  # so that the checksum is not all that is tried
                meta[META_CRC] = f"{zlib.crc32(meta['alexnet'].encode()):08x}"
            changed = json.dumps(header).encode()
        else:
            changed, what = change_json(chance, content[8 : 8 + size])
    except (ValueError, KeyError, TypeError, AttributeError):
        return change_bytes(chance, content)
    changed += b" " * (-len(changed) % 8)
    return len(changed).to_bytes(8, "little") + changed + content[8 + size :], f"header: {what}"


def change_npy(chance: random.Random, content: bytes) -> Mutated:
    """The header of a .npy file: its kind, its order, its shape; of the same length if it fits."""
    match = re.search(rb"\{.*\}", content[:300])
    if match is None or chance.random() < 0.3:
        return change_bytes(chance, content)
    text, draw = match[0].decode("latin-1"), chance.random()
    if draw < 0.4:
        new = re.sub(r"'descr': '[^']*'", f"'descr': '{chance.choice(NPY_KINDS)}'", text)
    elif draw < 0.8:
        shape = tuple(chance.choice(NUMBERS) for _ in range(chance.choice((0, 1, 1, 2, 3, 4, 40))))
        new = re.sub(r"\([^)]*\)", str(shape), text)
    else:
        new = text.replace("False", chance.choice(("True", "None", "[]", "1" * 50, "__import__")))
    room = len(match[0]) + len(content[match.end() : match.end() + 200].split(b"\n")[0])
    padded = new.encode("latin-1").ljust(room)
    return content[: match.start()] + padded + content[match.start() + room :], f"header {new}"


def change_zip(chance: random.Random, content: bytes) -> Mutated:
    """A member of a zip archive, as .npz files are, or the archive itself."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    except Exception:  # noqa: BLE001 - it has been mutated before
        return change_bytes(chance, content)
    if chance.random() < 0.25:
        return change_bytes(chance, content)
    name = chance.choice(sorted(members))
    if chance.random() < 0.1:
        del members[name]
        what = "not there"
    elif name == "about.npy" and chance.random() < 0.8:
        members[name], what = _change_about(chance, members[name])
    else:
        members[name], what = change_npy(chance, members[name])
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for member, inside in members.items():
            archive.writestr(member, inside)
    return memory.getvalue(), f"{name}: {what}"


def _change_about(chance: random.Random, content: bytes) -> Mutated:
    """The JSON in an array of one string: UTF-32 behind a header that has its length."""
    size = int.from_bytes(content[8:10], "little") + 10
    text = content[size:].decode("utf-32-le", "replace")
    changed, what = change_json(chance, text.encode("utf-8", "replace"))
    new = changed.decode("utf-8", "replace")
    header = f"{{'descr': '<U{len(new)}', 'fortran_order': False, 'shape': (), }}".encode()
    header = header.ljust(-(-(len(header) + 11) // 64) * 64 - 11) + b"\n"
    start = content[:8] + len(header).to_bytes(2, "little") + header
    return start + new.encode("utf-32-le", "surrogatepass"), what


def change_png(chance: random.Random, content: bytes) -> Mutated:
    """A chunk of a PNG, its CRC computed again."""
    chunks, at = [], 8
    while at + 12 <= len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += size + 12
    if not chunks or chance.random() < 0.25:
        return change_bytes(chance, content)
    number = chance.randrange(len(chunks))
    kind, inside = chunks[number]
    if kind == b"IDAT" and chance.random() < 0.5:
        inside, what = _recompressed(chance, inside)
    elif chance.random() < 0.1:
        chunks.insert(number, chunks[chance.randrange(len(chunks))])
        inside, what = chunks[number][1], "a chunk again"
    else:
        inside, what = change_bytes(chance, inside)
    chunks[number] = kind, inside
    body = b"".join(
        len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")
        for name, data in chunks
    )
    return content[:8] + body, f"chunk {kind!r}: {what}"


def _recompressed(chance: random.Random, content: bytes) -> Mutated:
    try:
        plain = zlib.decompress(content)
    except zlib.error:
        return change_bytes(chance, content)
    changed, what = change_bytes(chance, plain)
    return zlib.compress(changed, 1), f"inside: {what}"


def change_jpeg(chance: random.Random, content: bytes) -> Mutated:
    """Another kind of frame, precision, size or sampling; or any byte."""
    frame = next(
        (
            match.start()
            for match in re.finditer(rb"\xff[\xc0-\xcf]", content)
            if content[match.start() + 1] not in (0xC4, 0xC8, 0xCC)
        ),
        None,
    )
    if frame is None or chance.random() < 0.5:
        return change_bytes(chance, content)
    changed, draw = bytearray(content), chance.random()
    if draw < 0.4:
        changed[frame + 1] = kind = chance.choice(SOF)
        return bytes(changed), f"frame of kind {kind:#x}"
    place = frame + chance.choice((4, 5, 7, 9, 11, 12, 14, 15, 17, 18))
    new = pack_number(chance.choice((">B", ">H")), chance.choice((*NUMBERS, 8, 12, 16, 0x22)))
    changed[place : place + len(new)] = new
    return bytes(changed), f"{new!r} at byte {place - frame} of the frame's header"


def change_tiff(chance: random.Random, content: bytes) -> Mutated:
    """The kind, the count or the value of an entry of the directory."""
    order = "<" if content[:2] == b"II" else ">"
    try:
        (at,) = struct.unpack_from(f"{order}I", content, 4)
        (count,) = struct.unpack_from(f"{order}H", content, at)
        entry = at + 2 + 12 * chance.randrange(max(1, count))
        (tag,) = struct.unpack_from(f"{order}H", content, entry)
    except struct.error:
        return change_bytes(chance, content)
    if chance.random() < 0.4:
        return change_bytes(chance, content)
    place, layout = chance.choice(((2, "H"), (4, "I"), (8, "H"), (8, "I"), (8, "I"), (0, "H")))
    number = chance.choice((*NUMBERS, 3, 4, 5, 8, 16, 32, 5000, 20000))
    new = pack_number(order + layout, number)
    start = entry + place
    return content[:start] + new + content[start + len(new) :], f"tag {tag}, byte {place}: {number}"


GZ = gzip.decompress, lambda x: gzip.compress(x, 1)
BY_ENDING: dict[str, Mutator] = {
    ".tar": change_tar,
    ".tar.gz": compressed(*GZ, change_tar),
    ".tar.bz2": compressed(bz2.decompress, lambda x: bz2.compress(x, 1), change_tar),
    ".tar.xz": compressed(lzma.decompress, lambda x: lzma.compress(x, preset=0), change_tar),
    ".gz": compressed(*GZ, change_bytes),
    ".json": change_json,
    ".jsonl": change_lines,
    ".csv": change_text,
    ".tsv": change_text,
    ".txt": change_text,
    ".toml": change_text,
    ".xml": change_text,
    ".safetensors": change_safetensors,
    ".npy": change_npy,
    ".npz": change_zip,
    ".png": change_png,
    ".jpg": change_jpeg,
    ".tif": change_tiff,
}
"""What is tried on a file by its ending, beside bytes; the longest ending counts."""


def change(chance: random.Random, name: str, content: bytes) -> Mutated:
    """Mutate a file once, mostly as its ending says."""
    ending = max((x for x in BY_ENDING if name.endswith(x)), key=len, default="")
    if not ending or chance.random() < 0.25:
        return change_bytes(chance, content)
    try:
        return BY_ENDING[ending](chance, content)
    except Exception:  # noqa: BLE001 - an earlier change has left nothing of the structure
        return change_bytes(chance, content)
