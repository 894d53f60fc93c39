"""Labelled images in, a trained and measured classifier out (Krizhevsky et al., 2012)."""

__version__ = "0.1.0"
