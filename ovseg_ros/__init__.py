"""Find things by name in a camera's view: open-vocabulary segmentation for ROS 2.

Importing this package imports neither ROS nor torch; take what you need from its sub-packages
(`core`, `proposals`, `models`, `learn`, `evaluate`, `app`, `ros`).
"""

__version__ = "0.1.0"
