"""Find things by name in a camera's view: open-vocabulary segmentation for ROS 2.

Importing this package imports neither ROS nor torch; take what you need from its sub-packages
(`core`, `proposals`, `models`, `learn`, `evaluate`, `app`, `ros`).
"""

from pkgutil import extend_path

# The generated msg, srv and action live in the colcon overlay only. At the repository root Python finds this
# source folder first; with this line it still finds them further down the path.
__path__ = extend_path(__path__, __name__)

__version__ = "0.1.0"
