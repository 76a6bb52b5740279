"""Measuring: recordings, scores, speed."""
