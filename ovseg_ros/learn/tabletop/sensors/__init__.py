"""Depth cameras: what each makes of exact depth, fault by fault."""

from ovseg_ros.learn.tabletop.sensors.cameras import SENSORS, Sensor, kinect1, kinect2, realsense_filtered
from ovseg_ros.learn.tabletop.sensors.surfaces import Surface

__all__ = ["SENSORS", "Sensor", "Surface", "kinect1", "kinect2", "realsense_filtered"]
