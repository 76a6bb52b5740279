#!/usr/bin/env bash
# Branch coverage of core, proposals and ros by the tests that are not slow; fails under 90 % (part of `make coverage`).
# Processes that tests start are measured too. out/coverage/ holds the pages to look at.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

rm -rf out/coverage
mkdir -p out/coverage
cores=$(nproc)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
scripts/env.sh --own-domain coverage run -m pytest -q -n "$((cores < 4 ? cores : 4))" --dist loadfile --no-loadscope-reorder "$@" \
    || echo "some tests fail; what they reach is counted all the same" >&2
scripts/env.sh coverage combine -q
scripts/env.sh coverage html -q -d out/coverage/html --fail-under 0
scripts/env.sh coverage report
