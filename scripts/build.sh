#!/usr/bin/env bash
# Builds the package with colcon into install/, as far as something changed (part of `make setup`; needs .venv).
#   interfaces, CMakeLists.txt, package.xml or the environment changed -> colcon build (about 25 s)
#   a file was added to or removed from the installed folders          -> the install step alone (about 1 s)
#   nothing of that                                                    -> nothing: install/ links to the sources
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
log=$root/log/build.log
mkdir -p log

exec 9>log/.build.lock
flock 9

full=$( (cat msg/*.msg srv/*.srv action/*.action CMakeLists.txt package.xml scripts/build.sh; ls msg srv action
         cat .venv/.ready 2>/dev/null || true; echo "$root") | sha256sum | cut -d' ' -f1)
files=$(find ovseg_ros launch config examples demo scripts/nodes \( -name __pycache__ -o -name '.*' \) -prune -o -type f -print \
        | LC_ALL=C sort | sha256sum | cut -d' ' -f1)

run() {
    if ! "$@" >"$log" 2>&1; then
        tail -n 40 "$log" >&2
        echo "the build failed; everything it said is in ${log#"$root/"}" >&2
        exit 1
    fi
}

mkdir -p build
if [ "$(cat build/.stamp_full 2>/dev/null)" != "$full" ] || [ ! -f install/ovseg_ros/share/ovseg_ros/package.xml ]; then
    echo "[build] interfaces and overlay with colcon ..."
    start=$SECONDS
    rm -f build/.stamp_full build/.stamp_files
    # A build folder of another place or Python cannot be reused; removed modules must not stay behind.
    rm -rf build/ovseg_ros install/ovseg_ros
    run scripts/env.sh colcon --log-base log/colcon build --symlink-install --packages-select ovseg_ros \
        --event-handlers console_direct+ console_cohesion- \
        --cmake-args -DPython3_EXECUTABLE="$root/.venv/bin/python" -DBUILD_TESTING=ON -Wno-dev
    echo "[build] done in $((SECONDS - start)) s"
elif [ "$(cat build/.stamp_files 2>/dev/null)" != "$files" ]; then
    echo "[build] linking new files into install/"
    rm -f build/.stamp_files
    run scripts/env.sh cmake --install build/ovseg_ros
    find install/ovseg_ros -xtype l -delete
fi
echo "$full" >build/.stamp_full
echo "$files" >build/.stamp_files
