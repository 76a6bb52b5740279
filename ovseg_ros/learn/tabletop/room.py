"""The room that MuJoCo renders: a table, more furniture where wanted, floor, walls, lamps, and the things."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

os.environ.setdefault("MUJOCO_GL", "egl")  # as in render: whichever is imported first

import mujoco

from ovseg_ros.learn.tabletop.household import HouseholdObject, assets_folder
from ovseg_ros.learn.tabletop.teapot import teapot_mesh

TEAPOT_SCALE_M = 0.045  # metres per Newell unit: a pot 14 cm high
VISUAL = 1  # geom group of what is rendered, as in LIBERO's models; 0 collides alone
FOVY_DEG = 45.0
STEP_S = 0.002
_FLOOR_M = -0.75  # below the table's top


@dataclass(frozen=True)
class Board:
    """A box that things stand on or before, such as a second table's top or a shelf's side.

    Attributes:
        centre_m: in the world.
        half_m: half its sides.
        texture: as in `Surroundings`.
        rgba: multiplies it.
    """

    centre_m: tuple[float, float, float]
    half_m: tuple[float, float, float]
    texture: str = ""
    rgba: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Surroundings:
    """What things stand on and what is around them; the table's top is z = 0, its middle the room's.

    Attributes:
        table: a texture (a name in LIBERO's `textures`), or "" for plain colour.
        floor: the same of the floor.
        wall: the same of the walls.
        table_half_xy: half the table's sides, metres.
        table_rgb: multiplies its texture.
        room_half_m: half the room's side.
        furniture: what else stands there.
    """

    table: str = "martin_novak_wood_table.png"
    floor: str = "gray_floor.png"
    wall: str = "light_gray_plaster.png"
    table_half_xy: tuple[float, float] = (0.6, 0.5)
    table_rgb: tuple[float, float, float] = (1.0, 1.0, 1.0)
    room_half_m: float = 2.0
    furniture: tuple[Board, ...] = ()


def room_spec(
    s: Surroundings, size_hw: tuple[int, int], samples: int, lamp_m: tuple[float, float, float] | None
) -> mujoco.MjSpec:
    """The table with its top at z = 0, other furniture, floor below, four walls, two lamps."""
    spec = mujoco.MjSpec()
    spec.option.timestep = STEP_S
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.visual.quality.shadowsize = 1024 if lamp_m is None else 4096
    spec.visual.quality.offsamples = samples
    spec.visual.global_.offheight, spec.visual.global_.offwidth = size_hw
    spec.visual.global_.fovy = FOVY_DEG
    spec.visual.map.znear, spec.visual.map.zfar = 0.01, 10.0
    spec.stat.extent, spec.stat.center = 1.0, [0.0, 0.0, 0.0]
    for name in ("table", "floor", "wall"):
        _material(spec, name, getattr(s, name), repeat=2.0 if name == "table" else 6.0)
    world = spec.worldbody
    box, plane = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_PLANE
    top = {"type": box, "size": [*s.table_half_xy, 0.02], "pos": [0, 0, -0.02], "rgba": [*s.table_rgb, 1]}
    world.add_geom(**top, material="table", group=VISUAL)
    world.add_geom(type=plane, size=[4, 4, 0.1], pos=[0, 0, _FLOOR_M], material="floor", group=VISUAL)
    far = s.room_half_m
    for x, y, sx, sy in (
        (far, 0, 0.02, far + 0.5),
        (-far, 0, 0.02, far + 0.5),
        (0, far, far + 0.5, 0.02),
        (0, -far, far + 0.5, 0.02),
    ):
        world.add_geom(type=box, size=[sx, sy, 1.5], pos=[x, y, 0.5], material="wall", group=VISUAL)
    for i, board in enumerate(s.furniture):
        _material(spec, f"board{i}", board.texture, repeat=2.0)
        world.add_geom(type=box, size=board.half_m, pos=board.centre_m, rgba=board.rgba,
                       material=f"board{i}", group=VISUAL)  # fmt: skip
    sun, spot = mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, mujoco.mjtLightType.mjLIGHT_SPOT
    if lamp_m is None:
        world.add_light(pos=[0, 0, 1.4], dir=[-0.4, 0.3, -1], type=sun, diffuse=[0.5] * 3, castshadow=True)
    else:
        world.add_light(pos=lamp_m, dir=[-c for c in lamp_m], type=spot, cutoff=60, exponent=1,
                        diffuse=[0.55] * 3, castshadow=True)  # fmt: skip
    world.add_light(pos=[0, 0, 1.4], dir=[0.5, -0.2, -1], type=sun, diffuse=[0.3] * 3, castshadow=False)
    return spec


def _material(spec: mujoco.MjSpec, name: str, texture: str, repeat: float) -> None:
    material = spec.add_material(name=name)
    if not texture:
        return
    spec.add_texture(
        name=f"tex-{name}",
        type=mujoco.mjtTexture.mjTEXTURE_2D,
        file=str(assets_folder() / "textures" / texture),
    )
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = f"tex-{name}"
    material.texrepeat = [repeat, repeat]
    material.texuniform = False


def add_thing(spec: mujoco.MjSpec, i: int, thing: HouseholdObject, tint: tuple[float, ...] | None) -> None:
    """Adds one object with a free joint, its bodies' names prefixed `thing<i>_`."""
    if thing.file:
        child = mujoco.MjSpec.from_file(str(assets_folder() / thing.file))
        root = child.worldbody.first_body()
    else:
        child = mujoco.MjSpec()
        vertices, faces = teapot_mesh(8)
        mesh = child.add_mesh(name="teapot")
        mesh.uservert = (vertices * TEAPOT_SCALE_M).astype(np.float32).ravel()
        mesh.userface = faces.ravel()
        material = child.add_material(name="glaze", rgba=[0.85, 0.82, 0.75, 1], specular=0.6, shininess=0.6)
        root = child.worldbody.add_body()
        root.add_geom(
            type=mujoco.mjtGeom.mjGEOM_MESH,
            meshname="teapot",
            material=material.name,
            group=VISUAL,
            density=200,
        )
    root.name = "root"
    root.add_freejoint(name="free")
    if tint is not None:
        for material in child.materials:
            material.rgba = tint
    spec.attach(child, frame=spec.worldbody.add_frame(), prefix=f"thing{i}_")
