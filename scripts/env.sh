#!/usr/bin/env bash
# Runs a command in the environment that `make setup` made: Python of .venv, ROS 2 from its wheels, and the
# colcon overlay in install/ (so `import ovseg_ros` finds the modules together with msg, srv and action).
#
#   scripts/env.sh python -m ovseg_ros.app.demo.command
#   scripts/env.sh ovseg --help
#   scripts/env.sh ovseg_node --ros-args -p preset:=mini      # the node itself
#   scripts/env.sh bash                                       # a shell in it
#   scripts/env.sh --own-domain CMD...                        # with a ROS_DOMAIN_ID of its own, apart from others
#
# It leaves the calling shell as it was. What it sets:
#   PATH                 .venv/bin, then install/ovseg_ros/lib/ovseg_ros (ovseg_node, player, ovseg)
#   AMENT_PREFIX_PATH    the overlay, then .venv; an /opt/ros that was sourced is left out, the two do not mix
#   PYTHONPATH           the overlay alone
#   LD_LIBRARY_PATH      the wheels' libraries, so that they need not start Python twice to set it themselves
#   ROS_DOMAIN_ID        kept if set, else 67: two terminals find each other, other robots do not
#   ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST   nothing leaves this machine (set it to SUBNET to change that)
#   FASTRTPS_DEFAULT_PROFILES_FILE   config/fastdds.xml: images go through shared memory whole, and so arrive
#                        (in Kilted FASTDDS_DEFAULT_PROFILES_FILE)
#   ROS_DISTRO           what `make setup` took: jazzy, or kilted
#   OVSEG_SOURCE_DIR     the repository
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
overlay=$root/install/ovseg_ros

if [ ! -x "$venv/bin/python" ]; then
    echo "no .venv yet: run 'make setup' first" >&2
    exit 1
fi
if [ "${1:-}" = --own-domain ]; then
    shift
    export ROS_DOMAIN_ID=${ROS_DOMAIN_ID:-$((1 + $$ % 100))} # 1 to 100: the safe range on Linux ends at 101
fi
if [ $# -eq 0 ]; then
    sed -n '2,/^set -euo/{/^set -euo/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
    exit 2
fi

site=$(echo "$venv"/lib/python3.*/site-packages)
libraries=$overlay/lib:$venv/lib
for folder in "$site"/ros_*.libs; do
    if [ -d "$folder" ]; then libraries=$libraries:$folder; fi
done

unset ROS_LOCALHOST_ONLY ROS_PACKAGE_PATH COLCON_PREFIX_PATH PYTHONHOME ROS_VERSION ROS_PYTHON_VERSION
export VIRTUAL_ENV=$venv
export PATH=$venv/bin:$overlay/lib/ovseg_ros:$PATH
export AMENT_PREFIX_PATH=$overlay:$venv
export CMAKE_PREFIX_PATH=$overlay:$venv
if [ ! -d "$overlay" ]; then
    export AMENT_PREFIX_PATH=$venv
    export CMAKE_PREFIX_PATH=$venv
fi
export PYTHONPATH=$overlay/${site#"$venv/"}
export LD_LIBRARY_PATH=$libraries
export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1
export PYTHONNOUSERSITE=1
export PYTHONSAFEPATH=1   # Python 3.11 on: the current folder must not hide the overlay
ROS_DISTRO=$(cat "$venv/.ros" 2>/dev/null || echo jazzy)
export ROS_DISTRO
export RMW_IMPLEMENTATION=rmw_fastrtps_cpp
export ROS_DOMAIN_ID=${ROS_DOMAIN_ID:-67}
export ROS_AUTOMATIC_DISCOVERY_RANGE=${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}
profiles=${FASTDDS_DEFAULT_PROFILES_FILE:-${FASTRTPS_DEFAULT_PROFILES_FILE:-$root/config/fastdds.xml}}
unset FASTDDS_DEFAULT_PROFILES_FILE FASTRTPS_DEFAULT_PROFILES_FILE # Kilted warns of the old name
if [ "$ROS_DISTRO" = jazzy ]; then
    export FASTRTPS_DEFAULT_PROFILES_FILE=$profiles
else
    export FASTDDS_DEFAULT_PROFILES_FILE=$profiles
fi
export ROS_LOG_DIR=${ROS_LOG_DIR:-$root/log/ros}
export OVSEG_SOURCE_DIR=$root
exec "$@"
