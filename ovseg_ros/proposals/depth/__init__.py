"""Masks of what stands on a plane or is cut off by a jump in depth."""
