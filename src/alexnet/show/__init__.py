"""Figures drawn into PNG files with matplotlib, from results and predictions."""
