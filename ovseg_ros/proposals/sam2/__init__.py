"""Masks by SAM 2.1 and EdgeTAM: of another generator's boxes, or of a grid of points."""
