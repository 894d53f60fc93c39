"""A line of progress in the output of a notebook cell.

`screen.Bar` draws on it where the program runs in a notebook: Jupyter, JupyterLab, Colab, VS Code.
Only IPython's `display` is needed, which every notebook has; nothing is installed for it. Imports
nothing of this package but `terminal`.
"""

from __future__ import annotations

import html
import sys
import time
from importlib import import_module
from typing import Any

from alexnet.terminal import escape_unprintable

SECONDS_BETWEEN_UPDATES = 0.25
"""Seconds between two updates of the line: each is a message to the browser, and is stored."""


def is_notebook() -> bool:
    """Return whether this program runs as the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ in ("ZMQInteractiveShell", "Shell")  # the second one is Colab's


class NotebookLine:
    """A bar and a text in the output of the cell, replaced at every update and removed at the end.

    Texts are escaped: names of files and classes come from others.
    """

    def __init__(self) -> None:
        self._handle: Any = None
        self._updated = 0.0

    def show(self, done: float, total: float | None, text: str) -> None:
        """Show how much is done, of how much, with a text; `total` is None if it is not known."""
        now = time.monotonic()
        is_last = total is not None and done >= total
        if now - self._updated < SECONDS_BETWEEN_UPDATES and not is_last:
            return
        self._updated = now
        self._display(render_bar(done, total, text))

    def remove(self) -> None:
        """Empty the line."""
        if self._handle is not None:
            self._display("")
            self._handle = None

    def _display(self, content: str) -> None:
        ipython: Any = import_module("IPython.display")
        if self._handle is None:
            self._handle = ipython.display(ipython.HTML(content), display_id=True)
        else:
            self._handle.update(ipython.HTML(content))


def render_bar(done: float, total: float | None, text: str) -> str:
    """Return the HTML of a bar followed by a text."""
    filled = f" value='{done:g}' max='{total:g}'" if total else ""
    shown = html.escape(escape_unprintable(text))
    return f"<progress{filled} style='width:12em'></progress> <code>{shown}</code>"
