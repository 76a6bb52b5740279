"""Renders household objects on a table with MuJoCo: colour, metric depth and true instance masks.

One `Tabletop` is one compiled set of objects, table and surroundings; `scatter` throws the objects on the
table and lets physics settle them, `light` changes the lamps, `view` renders a camera. Needs
`MUJOCO_GL=egl` on a machine without a display (set here unless the caller set it).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

os.environ.setdefault("MUJOCO_GL", "egl")

import mujoco

from ovseg_ros.core.frame import CameraIntrinsics
from ovseg_ros.core.space import Rigid
from ovseg_ros.learn.tabletop.household import HouseholdObject
from ovseg_ros.learn.tabletop.room import FOVY_DEG, STEP_S, VISUAL, Surroundings, add_thing, room_spec

_DEFAULT = Surroundings()


@dataclass(frozen=True)
class View:
    """One rendered camera frame.

    Attributes:
        image_rgb: (H, W, 3) uint8.
        depth_m: (H, W) float32 metres along the optical axis.
        instances: (H, W) uint16, 0 = no object, i + 1 = the i-th object of the Tabletop.
        intrinsics: of both images.
    """

    image_rgb: np.ndarray
    depth_m: np.ndarray
    instances: np.ndarray
    intrinsics: CameraIntrinsics


@dataclass(frozen=True)
class CameraPose:
    """An orbiting camera: looks at a point from a distance; an elevation below zero is from above."""

    lookat_m: tuple[float, float, float] = (0.0, 0.0, 0.03)
    distance_m: float = 0.9
    azimuth_deg: float = 90.0
    elevation_deg: float = -40.0

    def from_world(self) -> Rigid:
        """From the world into the camera's optical frame (x right, y down, z forward)."""
        azimuth, elevation = np.radians([self.azimuth_deg, self.elevation_deg])
        level = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
        forward = np.cos(elevation) * level + [0.0, 0.0, np.sin(elevation)]
        up = -np.sin(elevation) * level + [0.0, 0.0, np.cos(elevation)]
        rotation = np.stack([np.cross(forward, up), -up, forward])
        return Rigid(rotation, -rotation @ (np.array(self.lookat_m) - self.distance_m * forward))


@dataclass
class _Placed:
    """Where one object lives in the compiled model."""

    qpos: int
    qvel: int
    corners: np.ndarray = field(repr=False)  # (V, 3) visual vertices in the body's frame
    upright: np.ndarray = field(repr=False)


class Tabletop:
    """A compiled table scene.

    Args:
        things: the objects; the same one may come twice.
        surroundings: table, floor and walls.
        size_hw: rendered image size in pixels.
        tints: per object an RGBA that multiplies its texture; None leaves it.
        samples: multisampling of edges (0 is fastest).
        lamp_m: where a spot lamp hangs that throws the shadows; None takes a sun from a direction (faster to
            vary, its shadows are grainy).
    """

    def __init__(
        self,
        things: Sequence[HouseholdObject],
        surroundings: Surroundings = _DEFAULT,
        size_hw: tuple[int, int] = (480, 640),
        tints: Sequence[tuple[float, float, float, float] | None] | None = None,
        samples: int = 4,
        lamp_m: tuple[float, float, float] | None = None,
    ) -> None:
        self.things = tuple(things)
        self.surroundings = surroundings
        self.size_hw = size_hw
        spec = room_spec(surroundings, size_hw, samples, lamp_m)
        for i, thing in enumerate(self.things):
            add_thing(spec, i, thing, tints[i] if tints else None)
        self.model = spec.compile()
        self.data = mujoco.MjData(self.model)
        self._placed = [self._locate(i) for i in range(len(self.things))]
        self._instance_of_geom = np.zeros(self.model.ngeom + 1, np.uint16)  # last entry: background, -1
        for g in range(self.model.ngeom):
            root = self.model.body(self.model.body_rootid[self.model.geom_bodyid[g]]).name
            if root.startswith("thing"):
                self._instance_of_geom[g] = int(root.split("_")[0][5:]) + 1
        self._renderer = mujoco.Renderer(self.model, *size_hw)
        self._option = mujoco.MjvOption()
        self._option.geomgroup[:] = 0
        self._option.geomgroup[VISUAL] = 1
        self._camera = mujoco.MjvCamera()

    def close(self) -> None:
        """Frees the GL context."""
        self._renderer.close()

    def _locate(self, i: int) -> _Placed:
        m, d = self.model, self.data
        joint = m.joint(f"thing{i}_free")
        root = m.joint(joint.id).bodyid[0]
        mujoco.mj_kinematics(m, d)
        origin, rotation = d.xpos[root], d.xmat[root].reshape(3, 3)
        corners = []
        for g in np.flatnonzero((m.body_rootid[m.geom_bodyid] == root) & (m.geom_group == VISUAL)):
            if m.geom_type[g] != mujoco.mjtGeom.mjGEOM_MESH:
                continue
            mesh = m.geom_dataid[g]
            v = m.mesh_vert[m.mesh_vertadr[mesh] : m.mesh_vertadr[mesh] + m.mesh_vertnum[mesh]]
            world = v @ d.geom_xmat[g].reshape(3, 3).T + d.geom_xpos[g]
            corners.append((world - origin) @ rotation)
        return _Placed(
            int(joint.qposadr[0]),
            int(joint.dofadr[0]),
            np.concatenate(corners),
            np.array(self.things[i].upright),
        )

    def scatter(
        self, rng: np.random.Generator, upright: float = 0.8, spread_m: float = 0.35, gap_m: float = 0.01
    ) -> None:
        """Puts every object on the table at random and lets physics settle.

        Args:
            rng: source of all randomness.
            upright: chance that an object starts on its base; otherwise it is dropped at any angle.
            spread_m: half side of the square the objects start in.
            gap_m: least gap between the objects' circles at the start (negative lets them touch).
        """
        taken: list[tuple[float, float, float]] = []
        order = sorted(range(len(self.things)), key=lambda i: -np.ptp(self._placed[i].corners, axis=0).max())
        for i in order:
            p = self._placed[i]
            quat = _yaw(rng.uniform(0, 2 * np.pi), p.upright if rng.random() < upright else _random_quat(rng))
            lo, hi = _extent(p, quat)
            radius = float(np.hypot(*(hi - lo)[:2]) / 2) * 0.85
            centre = _free_spot(rng, radius, taken, spread_m, gap_m)
            taken.append((*centre, radius))
            self._put(p, quat, *centre, 0.004)
        self._settle()

    def place(
        self, poses: Sequence[tuple[float, float, float]], heights_m: Sequence[float] | None = None
    ) -> None:
        """Stands every object at (x m, y m, yaw rad) on its base and lets physics settle.

        Args:
            poses: of each object.
            heights_m: of what each stands on, above the table's top; None: all on the table.
        """
        heights = [0.0] * len(self._placed) if heights_m is None else heights_m
        for p, (x, y, yaw), height in zip(self._placed, poses, heights, strict=True):
            self._put(p, _yaw(yaw, p.upright), x, y, height + 0.002)
        self._settle()

    def vertices_m(self, i: int) -> np.ndarray:
        """(V, 3) where the i-th object's vertices are now, in the world, metres."""
        placed, matrix = self._placed[i], np.empty(9)
        at = placed.qpos
        mujoco.mju_quat2Mat(matrix, self.data.qpos[at + 3 : at + 7])
        return placed.corners @ matrix.reshape(3, 3).T + self.data.qpos[at : at + 3]

    def _put(self, placed: _Placed, quat: np.ndarray, x: float, y: float, above_m: float) -> None:
        """The middle of an object's extent over (x, y), its lowest vertex so far above the table."""
        lo, hi = _extent(placed, quat)
        middle = (lo + hi) / 2
        at = placed.qpos
        self.data.qpos[at : at + 3] = [x - middle[0], y - middle[1], above_m - lo[2]]
        self.data.qpos[at + 3 : at + 7] = quat

    def _settle(self) -> None:
        """From rest, for 1.2 s at most."""
        self.data.qvel[:] = 0
        for step in range(int(1.2 / STEP_S)):
            mujoco.mj_step(self.model, self.data)
            if step > 150 and step % 50 == 0 and np.abs(self.data.qvel).max() < 0.05:
                break
        mujoco.mj_forward(self.model, self.data)

    def light(self, rng: np.random.Generator) -> None:
        """Draws a new direction, brightness and colour for the lamps."""
        m = self.model
        for lamp in range(m.nlight):
            tilt, turn = rng.uniform(0.1, 1.1), rng.uniform(0, 2 * np.pi)
            m.light_dir[lamp] = [np.sin(tilt) * np.cos(turn), np.sin(tilt) * np.sin(turn), -np.cos(tilt)]
            colour = 1 + rng.uniform(-0.12, 0.12, 3)
            m.light_diffuse[lamp] = rng.uniform(0.1, 0.4) * colour
            m.light_specular[lamp] = rng.uniform(0.05, 0.4)
        m.vis.headlight.ambient[:] = rng.uniform(0.2, 0.45)
        m.vis.headlight.diffuse[:] = rng.uniform(0.0, 0.25)
        mujoco.mj_forward(m, self.data)

    def view(self, pose: CameraPose, depth: bool = True) -> View:
        """Renders one camera.

        Args:
            pose: where the camera is.
            depth: False leaves `depth_m` all zero and saves a third of the time.
        """
        cam = self._camera
        cam.lookat[:] = pose.lookat_m
        cam.distance, cam.azimuth, cam.elevation = pose.distance_m, pose.azimuth_deg, pose.elevation_deg
        r = self._renderer
        r.update_scene(self.data, cam, self._option)
        rgb = r.render().copy()
        r.enable_segmentation_rendering()
        segments = r.render()
        is_geom = segments[..., 1] == int(
            mujoco.mjtObj.mjOBJ_GEOM
        )  # the enum itself compares element by element
        instances = self._instance_of_geom[np.where(is_geom, segments[..., 0], -1)]
        r.disable_segmentation_rendering()
        depth_m = np.zeros(self.size_hw, np.float32)
        if depth:
            r.enable_depth_rendering()
            depth_m = r.render().astype(np.float32)
            r.disable_depth_rendering()
        h, w = self.size_hw
        f = h / 2 / np.tan(np.radians(FOVY_DEG) / 2)
        return View(rgb, depth_m, instances, CameraIntrinsics(f, f, (w - 1) / 2, (h - 1) / 2, w, h))


def _free_spot(
    rng: np.random.Generator,
    radius: float,
    taken: list[tuple[float, float, float]],
    spread: float,
    gap: float,
) -> tuple[float, float]:
    """A spot for a circle; the least crowded of 60 tries when none is free."""
    best, best_room = (0.0, 0.0), -np.inf
    for _ in range(60):
        x, y = rng.uniform(-spread, spread, 2)
        room = min((np.hypot(x - a, y - b) - radius - r for a, b, r in taken), default=np.inf)
        if room > best_room:
            best, best_room = (float(x), float(y)), room
        if room > gap:
            break
    return best


def _extent(placed: _Placed, quat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest (x, y, z) of an object that is turned like this."""
    matrix = np.empty(9)
    mujoco.mju_quat2Mat(matrix, np.asarray(quat, float))
    points = placed.corners @ matrix.reshape(3, 3).T
    return points.min(0), points.max(0)


def _yaw(angle: float, quat: np.ndarray) -> np.ndarray:
    out = np.empty(4)
    mujoco.mju_mulQuat(out, np.array([np.cos(angle / 2), 0, 0, np.sin(angle / 2)]), np.asarray(quat, float))
    return out


def _random_quat(rng: np.random.Generator) -> np.ndarray:
    q = rng.normal(size=4)
    return q / np.linalg.norm(q)
