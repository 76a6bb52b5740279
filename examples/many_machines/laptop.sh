#!/bin/bash
# Two workers on this machine, without a cluster: Ray is started for the command and ended with it.
set -euo pipefail
pictures=${1:?want a folder of pictures}
out=${2:-out/many}
again=$([ -e "$out/frames.jsonl" ] && echo --resume || true)
# One thread for each worker: more workers with one thread each do more than one with many.
OMP_NUM_THREADS=1 ovseg segment "$pictures" --labels "person, dog, car" --preset lite --out "$out" $again \
    --ray auto --ray-workers 2
