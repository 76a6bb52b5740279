"""The Utah teapot, tessellated from the control points Martin Newell published in 1975.

The body, rim, lid and bottom are surfaces of revolution whose circle is four cubic Bezier arcs with
the constant 0.56 (Newell's, not the 0.5523 of a best-fitting circle); handle and spout are bicubic
patches mirrored in the plane y = 0. Units are Newell's (the pot is 3.15 high, 2 in radius).
"""

from __future__ import annotations

import numpy as np

_ARC = 0.56
# (r, z) control points of the profile curves, top to bottom: knob, lid, rim, two body curves, bottom.
_PROFILES = (
    ((0.0, 3.15), (0.8, 3.15), (0.0, 2.85), (0.2, 2.7)),
    ((0.2, 2.7), (0.4, 2.55), (1.3, 2.55), (1.3, 2.4)),
    ((1.4, 2.4), (1.3375, 2.53125), (1.4375, 2.53125), (1.5, 2.4)),
    ((1.5, 2.4), (1.75, 1.875), (2.0, 1.35), (2.0, 0.9)),
    ((2.0, 0.9), (2.0, 0.45), (1.5, 0.225), (1.5, 0.15)),
    ((1.5, 0.15), (1.5, 0.075), (1.425, 0.0), (0.0, 0.0)),
)
# Half patches: four rows of (x, z) along the tube, with the half width of the two inner columns.
# Each row holds (x_outer, z_outer, x_inner, z_inner, half_width).
_HANDLE = (
    ((-1.6, 2.025, -1.5, 2.25, 0.3), (-2.3, 2.025, -2.5, 2.25, 0.3),
     (-2.7, 2.025, -3.0, 2.25, 0.3), (-2.7, 1.8, -3.0, 1.8, 0.3)),
    ((-2.7, 1.8, -3.0, 1.8, 0.3), (-2.7, 1.575, -3.0, 1.35, 0.3),
     (-2.5, 1.125, -2.65, 0.9375, 0.3), (-2.0, 0.9, -1.9, 0.6, 0.3)),
)  # fmt: skip
_SPOUT = (
    ((1.7, 1.425, 1.7, 0.6, 0.66), (2.6, 1.425, 3.1, 0.825, 0.66),
     (2.3, 2.1, 2.4, 2.025, 0.25), (2.7, 2.4, 3.3, 2.4, 0.25)),
    ((2.7, 2.4, 3.3, 2.4, 0.25), (2.8, 2.475, 3.525, 2.49375, 0.25),
     (2.9, 2.475, 3.45, 2.5125, 0.15), (2.8, 2.4, 3.2, 2.4, 0.15)),
)  # fmt: skip


def _bernstein(n: int) -> np.ndarray:
    """(n+1, 4) cubic Bernstein basis at n+1 even parameters in [0, 1]."""
    t = np.linspace(0.0, 1.0, n + 1)[:, None]
    s = 1.0 - t
    return np.hstack([s**3, 3 * s**2 * t, 3 * s * t**2, t**3])


def _patches() -> list[np.ndarray]:
    """All bicubic patches as (4, 4, 3) control points."""
    patches = []
    for profile in _PROFILES:
        for quarter in range(4):
            a = np.pi / 2 * quarter
            e1, e2 = np.array([np.cos(a), np.sin(a)]), np.array([-np.sin(a), np.cos(a)])
            arc = np.stack([e1, e1 + _ARC * e2, e2 + _ARC * e1, e2])  # (4, 2) unit circle quarter
            patch = np.empty((4, 4, 3))
            for i, (r, z) in enumerate(profile):
                patch[i, :, :2] = r * arc
                patch[i, :, 2] = z
            patches.append(patch)
    for half in (*_HANDLE, *_SPOUT):
        for side in (-1.0, 1.0):
            patch = np.empty((4, 4, 3))
            for i, (xo, zo, xi, zi, w) in enumerate(half):
                patch[i] = [(xo, 0, zo), (xo, side * w, zo), (xi, side * w, zi), (xi, 0, zi)]
            patches.append(patch if side > 0 else patch[:, ::-1])
    return patches


def teapot_mesh(segments: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Tessellates the pot.

    Args:
        segments: quads along each side of a patch, >= 1; 32 patches give 64 * segments**2 triangles
            less the degenerate ones at knob and bottom.

    Returns:
        vertices (V, 3) float64 in Newell's units, z up, bottom at 0, spout along +x; faces (F, 3)
        int32, wound to face outward where the patch does. Vertices on patch seams are shared.

    Examples:
        >>> v, f = teapot_mesh(4)
        >>> float(v[:, 2].max())
        3.15
    """
    basis = _bernstein(segments)
    n = segments + 1
    points, quads = [], []
    for k, patch in enumerate(_patches()):
        points.append(np.einsum("ui,vj,ijc->uvc", basis, basis, patch).reshape(-1, 3))
        i, j = np.meshgrid(np.arange(segments), np.arange(segments), indexing="ij")
        a = (k * n * n + i * n + j).ravel()
        quads.append(np.stack([a, a + n, a + n + 1, a + 1], axis=1))
    vertices, inverse = np.unique(np.round(np.concatenate(points), 9), axis=0, return_inverse=True)
    q = inverse.reshape(-1)[np.concatenate(quads)]
    faces = np.concatenate([q[:, [0, 1, 2]], q[:, [0, 2, 3]]])
    solid = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 0] != faces[:, 2])
    return vertices, faces[solid].astype(np.int32)
