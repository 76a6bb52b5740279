#!/usr/bin/env bash
# What this package stands on: pinned with hashes, held against known vulnerabilities, and listed.
#
#   scripts/supply_chain.sh lock     writes requirements/locked/*.txt anew: versions for Python 3.10 to 3.13, with hashes
#   scripts/supply_chain.sh audit    out/audit.json: known vulnerabilities of what is in .venv (0 none, 1 some,
#                                    3 the database could not be asked, so nothing is known)
#   scripts/supply_chain.sh sbom     out/sbom.json: what is in .venv, as CycloneDX
#   scripts/supply_chain.sh dist     out/dist: source archive and wheel, checked by twine; CITATION.cff by cffconvert
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tools=$PWD/out/tools

say() { echo "[supply chain] $*" >&2; }

need_tools() {
    local want
    want=$(sha256sum <requirements/tools.txt)
    if [ "$(cat "$tools/.done" 2>/dev/null)" != "$want" ]; then
        say "the tools of requirements/tools.txt, into out/tools ..."
        rm -rf "$tools"
        python3 -m venv "$tools"
        "$tools/bin/pip" install -q -r requirements/tools.txt || { say "the tools could not be installed" && exit 2; }
        echo "$want" >"$tools/.done"
    fi
}

need_environment() {
    [ -x .venv/bin/python ] || { say "no .venv yet: run 'make setup' first" && exit 2; }
}

lock() { # NAME ARGS...: what uv resolves, under requirements/locked/NAME.txt
    local name=$1 file=requirements/locked/$1.txt
    shift
    say "$file ..."
    {
        echo "# Written by scripts/supply_chain.sh lock (make lock): what requirements/*.txt became, for Python 3.10 to 3.13."
        "$tools/bin/uv" pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header \
            --no-annotate --no-emit-index-url --no-emit-find-links "$@"
    } >"$file.new"
    mv "$file.new" "$file"
}

known() { # FILE ARGS...: pip-audit's report about them in FILE; its exit status is 0 or 1 if it could ask
    local file=$1
    shift
    rm -f "$file"
    "$tools/bin/pip-audit" --progress-spinner off -f json -o "$file" "$@" 2>out/audit.log
}

audit() {
    need_environment
    mkdir -p out
    # A mirror may answer without knowing of any vulnerability. So a release that is known to have some comes first.
    echo "jinja2==3.1.2" >out/audit_control.txt
    if known out/audit_control.json --no-deps --disable-pip -r out/audit_control.txt \
        || ! grep -qs '"id"' out/audit_control.json; then
        say "no database of vulnerabilities could be asked (out/audit.log): nothing is known of this environment"
        exit 3
    fi
    local status=0
    known out/audit.json --path "$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" || status=1
    [ -s out/audit.json ] || { say "no database of vulnerabilities could be asked (out/audit.log)" && exit 3; }
    .venv/bin/python - out/audit.json <<'PY'
import json
import sys

found = json.load(open(sys.argv[1], encoding="utf-8"))["dependencies"]
asked = [one for one in found if "vulns" in one]
for one in asked:
    for known in one["vulns"]:
        cure = ", ".join(known["fix_versions"]) or "no release"
        print(f'{one["name"]} {one["version"]}: {known["id"]}, mended in {cure}')
print(f"{len(asked)} packages asked about, {len(found) - len(asked)} that the database does not know; out/audit.json")
PY
    exit "$status"
}

sbom() {
    need_environment
    mkdir -p out
    "$tools/bin/cyclonedx-py" environment --of JSON --output-reproducible -o out/sbom.json .venv/bin/python
    say "out/sbom.json: $(grep -c '"bom-ref"' out/sbom.json) components"
}

dist() { # of what git knows: nothing that lies about gets in, and nothing is left behind here
    rm -rf out/dist out/dist_sources
    mkdir -p out/dist out/dist_sources
    git archive HEAD | tar -x -C out/dist_sources
    "$tools/bin/uv" build --quiet --no-config --python python3 --out-dir out/dist out/dist_sources
    rm -rf out/dist_sources
    "$tools/bin/uv" tool run --quiet --from 'twine>=6,<8' twine check --strict out/dist/*.tar.gz out/dist/*.whl
    "$tools/bin/uv" tool run --quiet --from 'cffconvert==2.0.0' cffconvert --validate -i CITATION.cff
    (cd out/dist && sha256sum -- *.tar.gz *.whl | tee SHA256SUMS)
}

case ${1:-} in
    lock)
        need_tools
        lock everything requirements/{vision,web,ros,test,docs}.txt
        lock no_deps --no-deps requirements/no_deps.txt
        ;;
    audit)
        need_tools
        audit
        ;;
    sbom)
        need_tools
        sbom
        ;;
    dist)
        need_tools
        dist
        ;;
    *) sed -n '2,/^set -euo/{/^set -euo/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" && exit 2 ;;
esac
