"""Measuring: recordings, data sets, scores."""
