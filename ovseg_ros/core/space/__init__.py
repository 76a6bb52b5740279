"""Where things are: upright boxes, centroids and points in metres, and what up is."""

from ovseg_ros.core.space.objects import object_points, objects_3d
from ovseg_ros.core.space.plane import Plane, choose_support, find_planes
from ovseg_ros.core.space.points import axial_noise_m
from ovseg_ros.core.space.rigid import Object3d, Rigid, quaternion_xyzw
from ovseg_ros.core.space.upright import find_up

__all__ = [
    "Object3d",
    "Plane",
    "Rigid",
    "axial_noise_m",
    "choose_support",
    "find_planes",
    "find_up",
    "object_points",
    "objects_3d",
    "quaternion_xyzw",
]
