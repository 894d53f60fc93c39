"""Small valid files of every kind that the program reads, which the fuzzers change.

Each function returns folders as dictionaries: name of a file → its bytes.
"""

from __future__ import annotations

import bz2
import contextlib
import csv
import gzip
import io
import json
import lzma
import struct
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tests.conftest import CLASSES, picture, pictures
from tests.images import test_jpeg
from tests.sources.source_files import tar
from tests.sources.test_ilsvrc import kit_files, train_tar

from alexnet.images.heif import can_read_heif

Files = dict[str, bytes]
SIDE = 24
HERE = b"(here)"
"""Stands in environment.json for the folder in which an example is read."""
PIECES = ("cat/1.png", "cat/2.png", "dog/1.png", "dog/3.png")


def read_folder(folder: Path) -> Files:
    """Every file of a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def image_file(kind: str, mode: str = "RGB", side: int = SIDE, **options: Any) -> bytes:
    """A picture as Pillow writes it."""
    image = Image.fromarray(picture(1, 0, side))
    image = image.convert("L").convert(mode) if mode in ("I;16", "F", "I") else image.convert(mode)
    memory = io.BytesIO()
    image.save(memory, kind, **options)
    return memory.getvalue()


def photoshop() -> bytes:
    """A .psd, which Pillow reads and does not write."""
    pixels = picture(2, 0, SIDE).transpose(2, 0, 1).tobytes()
    head = struct.pack(">4sH6sHIIHH", b"8BPS", 1, b"", 3, SIDE, SIDE, 8, 3)
    return head + struct.pack(">IIIH", 0, 0, 0, 0) + pixels


def quite_ok() -> bytes:
    """A .qoi of plain RGB pixels."""
    body = b"".join(b"\xfe" + bytes(pixel) for pixel in picture(0, 0, SIDE).reshape(-1, 3))
    return struct.pack(">4sIIBB", b"qoif", SIDE, SIDE, 3, 0) + body + bytes(7) + b"\1"


def apple_icon() -> bytes:
    """A .icns of one PNG and one compressed picture of 32×32; Pillow would write 1024×1024."""
    png, packed = image_file("PNG", "RGBA", 32), (b"\xfd\x7f" * 8 + b"\x81\x40") * 3 * 8
    parts = b"".join(
        kind + struct.pack(">I", len(content) + 8) + content
        for kind, content in ((b"icp5", png), (b"il32", packed[:204]), (b"l8mk", bytes(1024)))
    )
    return b"icns" + struct.pack(">I", len(parts) + 8) + parts


def tiled_tiff(kind: int = 1, bits: int = 8) -> bytes:
    """A gray TIFF in tiles of 16×16: `kind` 3 holds floats."""
    side, tile = 32, 16
    size = tile * tile * bits // 8
    entries = [
        (256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, bits), (259, 3, 1, 1), (262, 3, 1, 1),
        (277, 3, 1, 1), (322, 4, 1, tile), (323, 4, 1, tile),
    ]  # fmt: skip
    directory = 8
    after = directory + 2 + 12 * (len(entries) + 3) + 4
    entries += [(324, 4, 4, after), (325, 4, 4, after + 16), (339, 3, 1, kind)]
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    tiles = [after + 32 + number * size for number in range(4)]
    ends = struct.pack("<4I", *tiles) + struct.pack("<4I", *[size] * 4)
    head = b"II*\0" + struct.pack("<IH", directory, len(entries)) + body + bytes(4)
    return head + ends + np.linspace(0, 1, 4 * size, dtype="<f4").tobytes()[: 4 * size]


def heif_file(mode: str) -> bytes:
    """A HEIF photograph."""
    from pillow_heif import from_pillow

    memory = io.BytesIO()
    from_pillow(Image.fromarray(picture(1, 0, SIDE)).convert(mode)).save(memory, quality=50)
    return memory.getvalue()


LOSSLESS = [vars(test_jpeg)[x] for x in ("lossless_jpeg",) if x in vars(test_jpeg)]


IMAGES: dict[str, Callable[[], list[tuple[str, bytes]]]] = {
    "jpeg": lambda: [
        ("x.jpg", image_file("JPEG")),
        ("x.jpg", image_file("JPEG", progressive=True)),
        ("x.jpg", image_file("JPEG", "L")),
        ("x.jpg", image_file("JPEG", "CMYK")),
        ("x.jpg", image_file("JPEG", side=130, subsampling=0, exif=_turned(6))),
        ("x.jpg", image_file("JPEG", restart_marker_rows=1)),
        *(("x.jpg", make(picture(1, 0, SIDE))) for make in LOSSLESS),
    ],
    "png": lambda: [
        ("x.png", image_file("PNG")),
        ("x.png", image_file("PNG", "P")),
        ("x.png", image_file("PNG", "RGBA")),
        ("x.png", image_file("PNG", "I;16")),
        ("x.png", image_file("PNG", "1")),
        ("x.png", image_file("PNG", "LA", exif=_turned(3))),
    ],
    "gif": lambda: [("x.gif", image_file("GIF")), ("x.gif", image_file("GIF", "L"))],
    "bmp": lambda: [("x.bmp", image_file("BMP", mode)) for mode in ("RGB", "P", "1", "RGBA")],
    "tiff": lambda: [
        ("x.tif", image_file("TIFF")),
        ("x.tif", image_file("TIFF", "F")),
        ("x.tif", image_file("TIFF", "I;16")),
        ("x.tif", image_file("TIFF", compression="tiff_lzw")),
        ("x.tif", image_file("TIFF", compression="tiff_adobe_deflate")),
        ("x.tif", image_file("TIFF", "1", compression="group4")),
        ("x.tif", image_file("TIFF", compression="jpeg")),
        ("x.tif", tiled_tiff()),
        ("x.tif", tiled_tiff(3, 32)),
    ],
    "webp": lambda: [
        ("x.webp", image_file("WEBP")),
        ("x.webp", image_file("WEBP", "RGBA", lossless=True)),
    ],
    "avif": lambda: [("x.avif", image_file("AVIF"))],
    "ico": lambda: [
        ("x.ico", image_file("ICO", "RGBA", sizes=[(16, 16), (24, 24)])),
        ("x.ico", image_file("ICO", "RGBA", sizes=[(16, 16)], bitmap_format="bmp")),
    ],
    "icns": lambda: [("x.icns", apple_icon())],
    "ppm": lambda: [("x.ppm", image_file("PPM", mode)) for mode in ("RGB", "L", "1", "I")],
    "tga": lambda: [
        ("x.tga", image_file("TGA")),
        ("x.tga", image_file("TGA", "RGBA", compression="tga_rle")),
    ],
    "qoi": lambda: [("x.qoi", quite_ok())],
    "sgi": lambda: [("x.sgi", image_file("SGI"))],
    "pcx": lambda: [("x.pcx", image_file("PCX")), ("x.pcx", image_file("PCX", "P"))],
    "dds": lambda: [
        ("x.dds", image_file("DDS")),
        ("x.dds", image_file("DDS", "RGBA", pixel_format="DXT5")),
    ],
    "psd": lambda: [("x.psd", photoshop())],
    "jpeg2000": lambda: [
        ("x.jp2", image_file("JPEG2000")),
        ("x.j2k", image_file("JPEG2000", "L", no_jp2=True)),
    ],
}
"""Pictures of each format, in its kinds."""
if can_read_heif():
    IMAGES["heic"] = lambda: [("x.heic", heif_file("RGB")), ("x.heic", heif_file("RGBA"))]


def _turned(orientation: int) -> Any:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def photo_tar(ending: str) -> Files:
    """An archive of folders of classes, with long names and two forms of headers."""
    files = {
        f"top/{split}/{name}": image_file("PNG", side=4)
        for split in ("train", "val")
        for name in PIECES
    }
    files["top/train/cat/" + "long" * 40 + ".png"] = image_file("PNG", side=4)
    plain = tar(files)
    pack = {"tar": bytes, "tar.gz": gzip.compress, "tar.bz2": bz2.compress, "tar.xz": lzma.compress}
    return {f"x.{ending}": pack[ending](plain)}


def photo_zip() -> list[Files]:
    """Zip archives of folders of classes, stored and compressed."""
    import io
    import zipfile

    made = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2):
        memory = io.BytesIO()
        with zipfile.ZipFile(memory, "w", method) as archive:
            for split in ("train", "val"):
                for name in PIECES:
                    archive.writestr(f"top/{split}/{name}", image_file("PNG", side=4))
        made.append({"x.zip": memory.getvalue()})
    return made


def lists() -> list[Files]:
    """Lists of images in each form, and the images."""
    images = {f"{number}.png": image_file("PNG", side=4) for number in range(6)}
    rows = [(f"{n}.png", CLASSES[n % 2], ("train", "val")[n > 3]) for n in range(6)]
    found = []
    for ending, delimiter in (("csv", ","), ("csv", ";"), ("tsv", "\t")):
        text = io.StringIO()
        writer = csv.writer(text, delimiter=delimiter)
        writer.writerows([("path", "label", "split"), *rows])
        found.append({f"list.{ending}": text.getvalue().encode(), **images})
    objects = [dict(zip(("path", "label", "split"), row, strict=True)) for row in rows]
    text = "".join(json.dumps(x) + "\n" for x in objects)
    return [*found, {"list.jsonl": text.encode(), **images}]


def mnist() -> list[Files]:
    """Two splits of 8×8, plain and compressed."""
    files = {}
    for split, count in (("train", 6), ("t10k", 3)):
        pixels = np.arange(count * 64, dtype=np.uint8).tobytes()
        files[f"{split}-images-idx3-ubyte"] = struct.pack(">IIII", 0x803, count, 8, 8) + pixels
        labels = bytes(n % 3 for n in range(count))
        files[f"{split}-labels-idx1-ubyte"] = struct.pack(">II", 0x801, count) + labels
    return [files, {f"{name}.gz": gzip.compress(content) for name, content in files.items()}]


def cifar() -> list[Files]:
    """Both data sets, three images a file."""
    chance = np.random.default_rng(0)
    one = {f"data_batch_{n}.bin": chance.bytes(3 * 3073) for n in range(1, 6)}
    one |= {"test_batch.bin": b"\1" + chance.bytes(3072)}
    one = {name: b"\3" + content[1:] for name, content in one.items()}
    other = {"train.bin": b"\1\7" + chance.bytes(3072), "test.bin": b"\1\7" + chance.bytes(3072)}
    names = "\n".join(f"class{n}" for n in range(10)).encode()
    hundred = "\n".join(f"class{n}" for n in range(100)).encode()
    return [{**one, "batches.meta.txt": names}, {**other, "fine_label_names.txt": hundred}]


def norb() -> list[Files]:
    """Both splits, two pairs of 8×8 each."""
    files = {}
    for split in "training", "testing":
        name = f"smallnorb-5x46789x9x18x6x2x96x96-{split}"
        shape = struct.pack("<II4I", 0x1E3D4C55, 4, 2, 2, 8, 8)
        files[f"{name}-dat.mat"] = shape + bytes(range(256))
        files[f"{name}-cat.mat"] = struct.pack("<II3I2i", 0x1E3D4C54, 1, 2, 1, 1, 0, 4)
    return [files]


def ilsvrc() -> list[Files]:
    """The archives of 2012 with the kit as a folder; Kaggle's lists with a folder of images."""
    image = image_file("JPEG", side=8)
    names = [f"ILSVRC2012_val_{number:08}.JPEG" for number in (1, 2, 3)]
    archives = {
        "ILSVRC2012_img_train.tar": train_tar(),
        "ILSVRC2012_img_val.tar": tar(dict.fromkeys(names, image)),
    }
    kaggle: Files = {
        "LOC_synset_mapping.txt": b"n01440764 tench, Tinca tinca\nn02100735 English setter\n",
        "LOC_val_solution.csv": b"ImageId,PredictionString\n"
        b"ILSVRC2012_val_00000001,n01440764 85 1 499 272\n"
        b"ILSVRC2012_val_00000002,n02100735 1 2 3 4\n",
    }
    place = "ILSVRC/Data/CLS-LOC"
    kaggle |= {f"{place}/val/{name}": image for name in names[:2]}
    kaggle |= {f"{place}/train/n01440764/n01440764_1.JPEG": image}
    return [{**kit_files(), **archives}, kaggle]


def small_pack(**options: Any) -> Files:
    """A pack of a few pictures in two shards."""
    from alexnet.packing.pack import pack

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "x.pack")
        pack(pictures(4, 2, 16), out, processes=1, shard_images=7, **options)
        return {f"x.pack/{name}": content for name, content in read_folder(out).items()}


class Stop(Exception):  # noqa: N818 - it is no error
    """Ends a packing early."""


def unfinished_pack() -> Files:
    """A packing that was interrupted in its second split."""
    from alexnet.packing.pack import pack

    def stop(at: Any) -> None:
        if at.split == "val":
            raise Stop

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "x.pack")
        with contextlib.suppress(Stop):
            pack(pictures(4, 2, 16), out, processes=1, shard_images=7, progress=stop)
        return {f"x.pack/{name}": content for name, content in read_folder(out).items()}


def feature_index() -> Files:
    """An index of a few rows, and the journal of one that was interrupted."""
    from alexnet.files import replace_json
    from alexnet.packing.shards import write_array
    from alexnet.packs.checked_files import crc32
    from alexnet.packs.schema import ShardMetadata
    from alexnet.search.schema import IndexOrigin, describe_index, name_shard
    from alexnet.search.writing import IndexJournal
    from alexnet.validate import check

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "x")
        folder.mkdir()
        origin = check(
            {
                "layer": "pool5",
                "shape": [2, 2],
                "dimensions": 4,
                "dtype": "float16",
                "classes": ["cat", "dog"],
                "checkpoint": {"path": "/run/best.safetensors", "sha256": "0" * 64},
                "pack": {"path": "/x.pack", "relative": "../x.pack", "checksum": "0" * 64},
                "splits": [{"name": "train", "images": 3}, {"name": "val", "images": 2}],
            },
            IndexOrigin,
            "origin",
        )
        shards = []
        for number, rows in enumerate((2, 1, 2)):
            path = folder / name_shard(number)
            write_array(path, np.arange(4 * rows, dtype=np.float16).reshape(rows, 4))
            shards.append(ShardMetadata(path.name, rows, crc32(path)))
        write_array(folder / "labels.npy", np.array([0, 1, -1, 1, 0]))
        (folder / "names.txt").write_bytes(b"a.png\nb.png\nc\\u000a.png\nd.png\ne.png\n")
        crcs = (crc32(folder / file) for file in ("labels.npy", "names.txt"))
        replace_json(folder / "index.json", describe_index(origin, shards, *crcs))
        begun = Path(name, "begun")
        begun.mkdir()
        IndexJournal(origin, shards[:1]).save(begun)
        return read_folder(Path(name))


def trained(epochs: int = 1) -> Files:
    """A pack, a run of one epoch on it, and its predictions."""
    from alexnet.evaluation.ensemble import predict_split
    from alexnet.packing.pack import pack
    from alexnet.recipes.named import RECIPES
    from alexnet.training.train import train

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = pack(pictures(8, 4, 32), folder / "x.pack", processes=1)
        recipe = replace(RECIPES["cifar"], epochs=epochs, batch_size=12, crop=28)
        train(made, folder / "run", recipe, device="cpu")
        predict_split(folder / "run", made.path).write(folder / "x.npz")
        found = read_folder(folder)
    environment = "run/environment.json"
    found[environment] = found[environment].replace(name.encode(), HERE)
    return {name: content for name, content in found.items() if "tensorboard" not in name}


def portable() -> Files:
    """The run as an ONNX file and as an OpenVINO IR; nothing where the libraries are missing."""
    from alexnet.exporting.export import export

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, content in trained().items():
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.replace(HERE, str(folder).encode()))
        try:
            for ending in "onnx", "xml":
                export(folder / "run", folder / f"x.{ending}", pack=folder / "x.pack")
        except RuntimeError:
            return {}
        return {path.name: path.read_bytes() for path in sorted(folder.glob("x.*")) if
                path.is_file()}  # fmt: skip
