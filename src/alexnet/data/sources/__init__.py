"""Labelled images, wherever they are: folders, lists, archives and the classical data sets."""

from alexnet.data.sources.entry import UNLABELED, Entry, Skipped, Source, Span

__all__ = ["UNLABELED", "Entry", "Skipped", "Source", "Span"]
