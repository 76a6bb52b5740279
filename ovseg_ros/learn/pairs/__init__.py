"""Masks and their names from images with captions."""
