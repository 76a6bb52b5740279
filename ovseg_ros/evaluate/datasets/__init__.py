"""Benchmarks' data sets and folders of one's own, in their layouts."""
