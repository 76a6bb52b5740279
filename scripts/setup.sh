#!/usr/bin/env bash
# Makes everything `make demo` and `make test` need, on a machine with git, make and python3 alone:
# system packages (apt), .venv with the vision stack and ROS 2 from PyPI wheels, and the colcon overlay.
# Steps that are done are skipped, so a second run is offline and instant, and an interrupted one goes on.
#
#   scripts/setup.sh            what the demo and the tests need
#   scripts/setup.sh render     also MuJoCo and the object meshes, to render recordings and training data
#   scripts/setup.sh web        also Chromium and its driver, for the browser test of `ovseg web`
#
# PYTHON=python3.12 scripts/setup.sh   picks the interpreter (3.10 to 3.13; default: python3)
# ROS=kilted scripts/setup.sh          takes ROS 2 Kilted (default: what .venv has, else jazzy)
# PIP_* variables reach pip as usual.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
venv=$root/.venv
log=$root/log/setup.log
python=${PYTHON:-python3}
ros=${ROS:-$(cat "$venv/.ros" 2>/dev/null || echo jazzy)}
case $ros in
    jazzy) ros_list=requirements/ros.txt ros_title=Jazzy ;;
    kilted) ros_list=requirements/ros_kilted.txt ros_title=Kilted ;;
    *) echo "[setup] expected ROS=jazzy or ROS=kilted, got $ros" >&2 && exit 2 ;;
esac
render=${1:-}
case $render in
    '' | render | web) ;;
    *) echo "[setup] expected nothing, render or web, got $render" >&2 && exit 2 ;;
esac
mkdir -p log
: >>"$log"

say() { echo "[setup] $*"; }
stop() {
    echo "[setup] $*" >&2
    exit 1
}
logged() { # what to do when it fails is the caller's: || ...
    echo "+ $*" >>"$log"
    "$@" >>"$log" 2>&1
}
show_log() {
    tail -n 30 "$log" | grep -v 'is ignored: it is neither a file nor a directory' >&2 || true
    stop "$1 (all of it: log/setup.log). Run the same command again to go on from here."
}

exec 9>log/.setup.lock
if ! flock -n 9; then
    say "another set-up is running here; waiting for it"
    flock 9
fi

# ---------------------------------------------------------------- Python
command -v "$python" >/dev/null || stop "no $python found; install Python 3.10 to 3.13, or name one: make setup PYTHON=python3.12"
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
case $version in
    3.10 | 3.11 | 3.12 | 3.13) ;;
    *) stop "$python is Python $version, expected 3.10 to 3.13; name another: make setup PYTHON=python3.12" ;;
esac

# ---------------------------------------------------------------- what is done already
hash_of() { cat "$@" | sha256sum | cut -c1-16; }
machine="python $version $(uname -m) $root"
want_ros="$machine $(hash_of "$ros_list" scripts/relocate_ros_wheels.py)"
want_vision="$machine $(hash_of requirements/vision.txt requirements/web.txt requirements/no_deps.txt requirements/test.txt requirements/docs.txt)"
want_render="$machine $(hash_of requirements/render.txt)"
have() { [ "$(cat "$venv/.done_$1" 2>/dev/null)" = "$2" ]; }
all_done() {
    have ros "$want_ros" && have vision "$want_vision" && [ ! -e "$venv/.installing" ] \
        && { [ "$render" != render ] || have render "$want_render"; }
}

# ---------------------------------------------------------------- system packages
missing=()
need() { missing+=("$@"); }
command -v g++ >/dev/null || need g++
command -v make >/dev/null || need make
command -v cmake >/dev/null || need cmake
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$python" = python3 ]; then need python3-venv; else need "python$version-venv"; fi
fi
if ! "$python" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))'; then
    if [ "$python" = python3 ]; then need python3-dev; else need "python$version-dev"; fi
fi
if [ "$render" = render ]; then
    find /usr/lib /lib -name 'libEGL.so.1' 2>/dev/null | grep -q . || need libegl1
    find /usr/lib /lib -name 'libOpenGL.so.0' 2>/dev/null | grep -q . || need libopengl0 # PyOpenGL's EGL needs it
    find /usr/lib -name 'swrast_dri.so' -o -name 'libgallium*.so' 2>/dev/null | grep -q . || need libgl1-mesa-dri libegl-mesa0
fi
if [ "$render" = web ]; then
    command -v chromium >/dev/null || need chromium
    command -v chromedriver >/dev/null || need chromium-driver
fi
if [ ${#missing[@]} -gt 0 ]; then
    command -v apt-get >/dev/null || stop "install these with your system's package manager, then run this again: ${missing[*]}"
    if [ "$(id -u)" = 0 ]; then
        as_root=()
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        as_root=(sudo -n)
    else
        stop "system packages are missing and I may not install them. Type this, then run the same command again:

    sudo apt-get update && sudo apt-get install -y ${missing[*]}
"
    fi
    say "system packages: ${missing[*]} ..."
    start=$SECONDS
    logged "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update || show_log "apt-get update failed"
    if [[ " ${missing[*]} " = *" chromium"* ]] && ! apt-cache show chromium-driver >/dev/null 2>&1; then
        # Ubuntu's packages of these names only fetch a snap, which does not run in containers.
        stop "this system has no package chromium-driver; install the commands chromium and chromedriver by other means"
    fi
    logged "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}" \
        || show_log "apt-get install failed"
    say "system packages: done in $((SECONDS - start)) s"
fi

# ---------------------------------------------------------------- .venv
if ! all_done; then
    if [ -e "$venv" ] && [ "$("$venv/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2], sys.prefix)' 2>/dev/null)" != "$version $venv" ]; then
        say "the .venv there is broken, of another Python or of another folder: making it anew"
        rm -rf "$venv"
    fi
    if [ ! -e "$venv/.made" ]; then
        say ".venv with Python $version ..."
        rm -rf "$venv"
        logged "$python" -m venv "$venv" || show_log "python -m venv failed"
        logged "$venv/bin/python" -m pip install --retries 5 'pip>=24,<27' || show_log "pip could not update itself"
        touch "$venv/.made"
    fi
    if [ -e "$venv/.installing" ]; then
        say "the last set-up stopped while installing: checking what it left"
        logged "$venv/bin/python" scripts/repair_venv.py || show_log "repairing .venv failed"
    fi
fi

# Two distributions do not mix in one environment: the wheels of both have the same modules and CMake files.
leave_other_ros() {
    local before others
    before=$(cat "$venv/.ros" 2>/dev/null || echo jazzy)
    others=$("$venv/bin/python" -m pip list --format=freeze 2>/dev/null | grep -oE '^ros-[^=]+' || true)
    if [ "$before" = "$ros" ] || [ -z "$others" ]; then return; fi
    say "ROS 2 $before leaves .venv"
    # shellcheck disable=SC2086  # a group of words on purpose
    logged "$venv/bin/python" -m pip uninstall -y $others || show_log "pip could not remove ROS 2 $before"
}

# Installs a group of requirement files once. name, stamp, what to say, then pip's arguments.
install() {
    local name=$1 stamp=$2 what=$3 start=$SECONDS
    shift 3
    if have "$name" "$stamp"; then return; fi
    say "$what ..."
    touch "$venv/.installing"
    if [ "$name" = ros ]; then leave_other_ros; fi
    while [ $# -gt 0 ]; do
        # shellcheck disable=SC2086  # a group of words on purpose
        logged "$venv/bin/python" -m pip install --retries 5 --timeout 120 --progress-bar off $1 || show_log "pip failed"
        shift
    done
    if [ "$name" = ros ]; then
        logged "$venv/bin/python" scripts/relocate_ros_wheels.py || show_log "the ROS wheels could not be adapted"
        echo "$ros" >"$venv/.ros"
    fi
    rm -f "$venv/.installing"
    echo "$stamp" >"$venv/.done_$name"
    say "$what: done in $((SECONDS - start)) s"
}

if ! all_done; then
    rm -f "$venv/.ready"
    # Both lists in each call: pip then sees all limits at once and never changes a version back and forth.
    install ros "$want_ros" "ROS 2 $ros_title and colcon (about 30 MB)" "-r $ros_list -c requirements/vision.txt -c requirements/web.txt -c requirements/test.txt -c requirements/docs.txt"
    install vision "$want_vision" "PyTorch and the vision stack (0.5 to 3 GB, some minutes)" \
        "-r requirements/vision.txt -r requirements/web.txt -r requirements/test.txt -r requirements/docs.txt -r $ros_list" \
        "--no-deps -r requirements/no_deps.txt"
    if [ "$render" = render ]; then
        install render "$want_render" "MuJoCo and object meshes" \
            "mujoco==$(sed -n 's/^mujoco==//p' requirements/render.txt) -c requirements/vision.txt" \
            "--no-deps -r requirements/render.txt"
    fi
fi
echo "$want_ros" >"$venv/.ready.new"
cmp -s "$venv/.ready.new" "$venv/.ready" 2>/dev/null || mv "$venv/.ready.new" "$venv/.ready"
rm -f "$venv/.ready.new"

# ---------------------------------------------------------------- the overlay
scripts/build.sh
