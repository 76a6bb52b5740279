"""Recordings with ground truth, and what is right on them."""
