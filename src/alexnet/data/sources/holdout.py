"""A validation split for sources that have none, the same whatever else the source holds."""

import hashlib
from dataclasses import dataclass

DEFAULT_FRACTION = 0.1


@dataclass(frozen=True)
class HoldOut:
    """Which images are kept back for validation: about `fraction` of them, chosen by `seed`.

    The choice for an image depends on the seed, its class and its name in the class, and on nothing
    else, so that adding and removing files moves no other file from one split to the other.
    """

    fraction: float | None = None  # None: one tenth, where a source has no validation split
    seed: int = 0

    def __post_init__(self) -> None:
        if self.fraction is not None and not 0 <= self.fraction < 1:
            raise ValueError(
                f"a validation fraction of {self.fraction}: give one from 0 to below 1"
            )

    @property
    def share(self) -> float:
        """The fraction that is held out where the source itself says nothing."""
        return DEFAULT_FRACTION if self.fraction is None else self.fraction

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that a source without splits of its own is divided into."""
        return ("train", "val") if self.share else ("train",)

    def split(self, class_name: str, name: str) -> str:
        """ "train" or "val" for one image."""
        key = f"{self.seed}\0{class_name}\0{name}".encode("utf-8", "surrogateescape")
        draw = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")
        return "val" if draw < self.share * 2**64 else "train"

    @property
    def remark(self) -> str:
        """What a person should know of the division."""
        if not self.share:
            return (
                "There is no validation split, and none was asked for: all images are for training."
            )
        return (
            f"There is no validation split: about {self.share:.0%} of the images are held out, "
            f"chosen by seed {self.seed}, class and name."
        )
