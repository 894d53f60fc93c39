"""`alexnet serve`: a trained network as a page in the browser, and the same as an HTTP API.

The command loads the network and the index and prints the address; `alexnet.serving` does the rest.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from alexnet.serving.limits import ServingLimits

EXTRA = "alexnet serve needs starlette and uvicorn: pip install 'alexnet[serve]'"


@dataclass(frozen=True)
class Serve:
    """Serve a page that classifies images, and an HTTP API, until Ctrl-C."""

    run_folder: Positional[Path]
    """A run's folder (its best checkpoint, else its last), a checkpoint file, or a file that
    `alexnet export` made."""
    index: Path | None = None
    """An index that `alexnet features` made with this network: the page then shows the nearest
    images."""
    pack: Path | None = None
    """With --index: the pack that it was made of, for the pictures, if it has moved."""
    host: str = "127.0.0.1"
    """The address to listen at. 0.0.0.0 is every address of this machine: then everyone who can
    reach it can send images."""
    port: int = 8000
    """The port to listen at; 0: any free one."""
    allow_host: tuple[str, ...] = ()
    """Names by which browsers may address the server, besides 127.0.0.1, localhost and --host."""
    device: str = "auto"
    """auto, cpu, cuda, or cuda:1 for the second GPU."""
    max_body: float = 20.0
    """The largest image file that is accepted, in MB."""
    max_pixels: int = 178_956_970
    """Images with more pixels are not read."""
    queue: int = 64
    """Images that wait for their answer at a time; more are told to come back later."""

    def run(self) -> int:
        """Serve until a signal comes; return 128 + its number."""
        if self.pack is not None and self.index is None:
            raise ValueError("--pack names the pictures of an index: give --index INDEX too")
        try:
            from alexnet.serving.limits import ServingLimits
            from alexnet.serving.server import get_url, open_socket, serve
        except ModuleNotFoundError as error:
            if error.name in ("starlette", "uvicorn", "h11", "anyio"):
                raise RuntimeError(EXTRA) from error
            raise
        limits = ServingLimits(body_bytes=int(self.max_body * 1e6), queue=self.queue)
        with open_socket(self.host, self.port) as listener:
            app = self._make_app(limits)
            url = get_url(listener)

            def say() -> None:
                print(f"{self.run_folder} is served at {url} (Ctrl-C stops it)", flush=True)

            if not self._is_local:
                print(
                    "alexnet: everyone who can reach this machine can use the server; browsers may "
                    f"call it {', '.join(('localhost', *self._hosts))} (--allow-host adds names)",
                    file=sys.stderr,
                )
            return serve(app, listener, limits, say)

    def _make_app(self, limits: ServingLimits) -> ASGIApp:
        from alexnet.predict import load
        from alexnet.search.similar import find_checkpoint_of
        from alexnet.serving.app import make_app
        from alexnet.serving.neighbors import open_neighbors

        neighbors, checkpoint = None, self.run_folder
        if self.index is not None:
            neighbors = open_neighbors(self.index, self.pack)
            checkpoint = find_checkpoint_of(self.run_folder, neighbors.index)
        classifier = load(checkpoint, self.device, max_pixels=self.max_pixels)
        name = self.run_folder.resolve().name
        return make_app(
            classifier,
            name,
            neighbors=neighbors,
            limits=limits,
            allowed_hosts=self._hosts,
            start_decoders=True,
        )

    @property
    def _is_local(self) -> bool:
        return self.host in ("127.0.0.1", "localhost", "::1")

    @property
    def _hosts(self) -> tuple[str, ...]:
        """The host names that are allowed besides the local ones."""
        own = f"[{self.host}]" if ":" in self.host else self.host
        return (own, *self.allow_host)
