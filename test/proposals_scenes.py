"""Views of boxes, cylinders and spheres on a table, ray-cast, so that every mask is known exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ovseg_ros.core.frame import CameraIntrinsics, Frame


@dataclass(frozen=True)
class Box:
    """Axis-aligned: centre and full size, metres, z up."""

    centre: tuple[float, float, float]
    size: tuple[float, float, float]
    rgb: tuple[int, int, int] = (200, 60, 50)

    def hit(self, origin, rays):
        low = np.array(self.centre) - np.array(self.size) / 2
        high = np.array(self.centre) + np.array(self.size) / 2
        enter, leave = -np.inf, np.inf
        for axis in range(3):
            with np.errstate(divide="ignore", invalid="ignore"):
                a, b = (
                    (low[axis] - origin[axis]) / rays[..., axis],
                    (high[axis] - origin[axis]) / rays[..., axis],
                )
            enter, leave = np.fmax(enter, np.minimum(a, b)), np.fmin(leave, np.maximum(a, b))
        return np.where((enter <= leave) & (enter > 0), enter, np.inf)


@dataclass(frozen=True)
class Cylinder:
    """Standing, closed: centre of its bottom, radius, height."""

    foot: tuple[float, float, float]
    radius: float
    height: float
    rgb: tuple[int, int, int] = (50, 90, 200)

    def hit(self, origin, rays):
        o, d = origin - np.array(self.foot), rays
        side = _sphere_like(o[:2], d[..., :2], self.radius)
        z = o[2] + side * d[..., 2]
        side = np.where((z >= 0) & (z <= self.height), side, np.inf)
        with np.errstate(divide="ignore", invalid="ignore"):
            top = (self.height - o[2]) / d[..., 2]
        at = o[:2] + top[..., None] * d[..., :2]
        top = np.where((top > 0) & ((at**2).sum(-1) <= self.radius**2), top, np.inf)
        return np.minimum(side, top)


@dataclass(frozen=True)
class Sphere:
    centre: tuple[float, float, float]
    radius: float
    rgb: tuple[int, int, int] = (60, 160, 70)

    def hit(self, origin, rays):
        return _sphere_like(origin - np.array(self.centre), rays, self.radius)


def _sphere_like(o, d, radius):
    a, b, c = (d * d).sum(-1), (d * o).sum(-1), (o * o).sum(-1) - radius**2
    root = b * b - a * c
    with np.errstate(invalid="ignore", divide="ignore"):
        t = (-b - np.sqrt(root)) / a
    return np.where((root >= 0) & (t > 0), t, np.inf)


TABLE_RGB = (170, 140, 105)


def table(half_x=0.8, near=-0.4, far=0.8):
    """A slab with its top at z = 0."""
    return Box((0.0, (near + far) / 2, -0.02), (2 * half_x, far - near, 0.04), TABLE_RGB)


def view(things, *, size_hw=(240, 320), pitch_deg=40.0, distance=0.9, roll_deg=0.0, ground=None, seed=0):
    """Frame and instances of things seen from `distance` metres around the origin.

    Returns:
        Frame with exact depth; (H, W) int instances: i + 1 for things[i], 0 elsewhere.
    """
    ground = (table(),) if ground is None else tuple(ground)
    height, width = size_hw
    focal = 0.95 * width
    camera = CameraIntrinsics(focal, focal, width / 2, height / 2, width, height)
    pitch, roll = np.radians([pitch_deg, roll_deg])
    forward = np.array([0.0, np.cos(pitch), -np.sin(pitch)])
    down = np.array([0.0, -np.sin(pitch), -np.cos(pitch)])
    right = np.array([1.0, 0.0, 0.0])
    right, down = np.cos(roll) * right + np.sin(roll) * down, np.cos(roll) * down - np.sin(roll) * right
    u, v = np.meshgrid((np.arange(width) - camera.cx) / focal, (np.arange(height) - camera.cy) / focal)
    rays = forward + u[..., None] * right + v[..., None] * down
    everything = (*ground, *things)
    hits = np.stack(
        [thing.hit(-distance * forward, rays) for thing in everything] or [np.full(size_hw, np.inf)]
    )
    first = hits.argmin(axis=0)
    depth = hits.min(axis=0)
    seen = np.isfinite(depth)
    colours = np.array([thing.rgb for thing in everything] or [(0, 0, 0)], float)
    image = colours[first] * seen[..., None]
    image += np.random.default_rng(seed).normal(0, 6, image.shape)
    instances = np.where(seen & (first >= len(ground)), first - len(ground) + 1, 0)
    frame = Frame(
        np.clip(image, 0, 255).astype(np.uint8), np.where(seen, depth, 0).astype(np.float32), camera
    )
    return frame, instances


def as_sensed(frame, sigma_m=0.001, seed=0, quantum_m=0.001):
    """The frame with noise growing with z², half the pixels at depth edges missing, whole millimetres."""
    rng = np.random.default_rng(seed)
    z = frame.depth_m
    jump = np.zeros(z.shape, bool)
    jump[:, 1:] |= np.abs(np.diff(z, axis=1)) > 0.03
    jump[1:] |= np.abs(np.diff(z, axis=0)) > 0.03
    jump[:, :-1] |= jump[:, 1:]
    noisy = z + rng.normal(0, sigma_m, z.shape) * z * z
    noisy[jump & (rng.random(z.shape) < 0.5)] = 0
    noisy = np.round(noisy / quantum_m) * quantum_m
    noisy[z == 0] = 0
    return Frame(frame.image_rgb, noisy.astype(np.float32), frame.intrinsics)


def best_ious(masks, instances):
    """Per instance 1..n the best IoU with any mask (N, H, W)."""
    out = []
    for i in range(1, instances.max() + 1):
        truth = instances == i
        out.append(max(((m & truth).sum() / (m | truth).sum() for m in masks), default=0.0))
    return out
