"""The numbers that bound what clients can ask of the server. Imported by all of `serving`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ServingLimits:
    """Limits on size, time and number. Every one has an HTTP status for a client that exceeds it.

    Raises ValueError for a limit that is not positive.
    """

    body_bytes: int = 20 << 20
    """The largest image file that is accepted, in bytes (413)."""
    total_body_bytes: int = 256 << 20
    """Bytes of all images that are being received or answered at the same time (503)."""
    read_seconds: float = 20.0
    """Time to receive the headers of a request (the connection is closed), and again to receive
    its body (408)."""
    decode_seconds: float = 10.0
    """Time to decode one image, after which its process is ended (422). It is tried twice."""
    answer_seconds: float = 30.0
    """Time from the last byte of a request to its answer (504)."""
    queue: int = 64
    """Images that are decoded, waiting or computed at the same time (503 with Retry-After)."""
    batch: int = 32
    """Images that the network is given at a time."""
    gather_seconds: float = 0.002
    """Time that the first image of a batch waits for others."""
    connections: int = 512
    """Open connections (503)."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"the limit {name} is {value}, but must be greater than 0")


class RefusedRequest(Exception):  # noqa: N818 - it says what became of the request
    """A request that gets an error as its answer.

    `reason` is one word for programs, `str` of the error a sentence for people.
    """

    def __init__(self, status: int, reason: str, detail: str, retry_after: int | None = None):
        super().__init__(detail)
        self.status, self.reason = status, reason
        self.retry_after = retry_after
        """Seconds after which the client may try again, for the header Retry-After."""

    def to_dict(self) -> dict[str, str]:
        """Return the JSON body of the answer."""
        return {"error": self.reason, "detail": str(self)}
