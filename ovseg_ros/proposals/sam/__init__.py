"""Masks by Segment Anything."""
