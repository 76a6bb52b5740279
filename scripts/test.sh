#!/usr/bin/env bash
# Runs the tests once, through `colcon test`, against the overlay, and fails if one fails (part of `make test`).
#   scripts/test.sh           without the tests marked slow
#   scripts/test.sh --slow    with them
# For one file while working: scripts/env.sh python -m pytest test/core/test_classify.py
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export OVSEG_TEST_REQUIRE_ROS=1 # a test that needs rclpy fails without it, rather than being skipped
# As many tests at a time as there are cores, four at most (each holds its own networks: some 3 GB); those of one
# file run in one process, whose fixtures they share, in the order of test/conftest.py. torch gets the cores that
# are left for each.
# The slow ones run one by one, on all cores: their networks take 10 GB.
export PYTEST_ADDOPTS=${PYTEST_ADDOPTS:-}
if [ "${1:-}" = --slow ]; then
    PYTEST_ADDOPTS="$PYTEST_ADDOPTS -m ''"
else
    cores=$(nproc)
    at_once=$((cores < 4 ? cores : 4))
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores / at_once))}
    PYTEST_ADDOPTS="-n $at_once --dist loadfile --no-loadscope-reorder $PYTEST_ADDOPTS"
fi

# What the tests compile and keep is not for the user's cache.
XDG_CACHE_HOME=$(mktemp -d)
export XDG_CACHE_HOME
trap 'rm -rf "$XDG_CACHE_HOME"' EXIT

rm -rf build/ovseg_ros/test_results build/ovseg_ros/Testing
# ctest puts the test's number before each line ("1: "); without it the lines are pytest's own.
scripts/env.sh --own-domain colcon --log-base log/colcon test --packages-select ovseg_ros \
    --event-handlers console_direct+ console_cohesion- --return-code-on-test-failure \
    --ctest-args -R ovseg_ros_tests 2>&1 \
    | sed -u -E -e "/doesn't contain any 'local_setup/d" -e 's/^[0-9]+: ?//' && passed=yes || passed=no

if [ ! -s build/ovseg_ros/test_results/ovseg_ros/ovseg_ros_tests.xunit.xml ]; then
    echo "the tests left no result: colcon test did not run them" >&2
    exit 1
fi
echo
scripts/env.sh colcon --log-base log/colcon test-result --test-result-base build/ovseg_ros --verbose || passed=no

# pytest's closing line once more, since colcon's own summary came after it
grep -E '^(1: )?=+ .*(passed|failed|error|no tests ran).* =+$' build/ovseg_ros/ament_cmake_pytest/ovseg_ros_tests.txt | tail -n 1
[ "$passed" = yes ]
