#!/bin/bash
# Runs a command with ROS, the virtual environment and the package: ros2 launch …, ovseg segment …, bash.
set -eo pipefail # no -u: ROS's setup files read unset variables
# shellcheck source=/dev/null
source "/opt/ros/$ROS_DISTRO/setup.bash"
# shellcheck source=/dev/null
source /opt/venv/bin/activate
# shellcheck source=/dev/null
source /opt/ovseg/setup.bash
exec "$@"
