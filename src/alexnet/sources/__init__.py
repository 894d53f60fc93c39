"""Labeled images, wherever they are: folders, lists, archives and the classical data sets."""

from alexnet.sources.entry import UNLABELED, Entry, Skipped, Source, Span
from alexnet.sources.recognition import open_source

__all__ = ["UNLABELED", "Entry", "Skipped", "Source", "Span", "open_source"]
