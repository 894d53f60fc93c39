"""Write a folder train/<WordNet id>/*, val/<WordNet id>/* as the official ILSVRC-2012 archives.

    python docs/ilsvrc_layout.py FOLDER DEST

DEST gets ILSVRC2012_img_train.tar (a tar of one tar a class), ILSVRC2012_img_val.tar (flat,
numbered) and ILSVRC2012_devkit_t12.tar.gz (meta.mat and the ground truth, in ids that are not in
WordNet order). For trying out the reading of the archives without having them.
"""

import io
import sys
import tarfile
from pathlib import Path

import numpy as np
from scipy.io import savemat

KIT = "ILSVRC2012_devkit_t12"


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Append one file to an archive."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def tar_of(files: list[Path]) -> bytes:
    """An archive of these files, by their bare names."""
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w") as tar:
        for file in files:
            add(tar, file.name, file.read_bytes())
    return memory.getvalue()


def meta(wordnet_ids: list[str]) -> bytes:
    """meta.mat: a struct array with one row a class; its ids run backwards."""
    fields = [("ILSVRC2012_ID", "f8"), ("WNID", "O"), ("words", "O"), ("num_children", "f8")]
    synsets = np.zeros((len(wordnet_ids), 1), fields)
    for number, (row, wnid) in enumerate(zip(synsets[:, 0], wordnet_ids[::-1], strict=True), 1):
        row["ILSVRC2012_ID"], row["WNID"], row["words"], row["num_children"] = number, wnid, wnid, 0
    memory = io.BytesIO()
    savemat(memory, {"synsets": synsets})
    return memory.getvalue()


def main(folder: Path, out: Path) -> None:
    """Write the three archives."""
    out.mkdir(parents=True)
    ids = sorted(path.name for path in (folder / "train").iterdir())
    with tarfile.open(out / "ILSVRC2012_img_train.tar", "w") as train:
        for wnid in ids:
            add(train, f"{wnid}.tar", tar_of(sorted((folder / "train" / wnid).iterdir())))
    number_of = {wnid: len(ids) - place for place, wnid in enumerate(ids)}
    truth = []
    with tarfile.open(out / "ILSVRC2012_img_val.tar", "w") as val:
        for wnid in ids:
            for file in sorted((folder / "val" / wnid).iterdir()):
                truth.append(number_of[wnid])
                add(val, f"ILSVRC2012_val_{len(truth):08d}.JPEG", file.read_bytes())
    with tarfile.open(out / f"{KIT}.tar.gz", "w:gz") as kit:
        add(kit, f"{KIT}/data/meta.mat", meta(ids))
        lines = "".join(f"{number}\n" for number in truth).encode()
        add(kit, f"{KIT}/data/ILSVRC2012_validation_ground_truth.txt", lines)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
