"""The Makefile hands on what people type, as they typed it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from repository import ROOT


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(
    "typed",
    [
        "find teapot, giraffe",
        "the \"salt and pepper\", it's Bob's mug",
        "$(touch pwned); `touch pwned`; $(shell touch pwned)",
        '"; touch pwned; "',
        "100% $HOME $$ \\ 茶壶",
        "",
    ],
)
def test_queries_reach_the_demo_as_typed_and_run_nothing(tmp_path: Path, typed: str) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "setup.sh").write_text("#!/bin/sh\n")
    (scripts / "env.sh").write_text('#!/bin/sh\nfor word in "$@"; do printf "%s\\0" "$word"; done >given\n')
    for script in scripts.iterdir():
        script.chmod(0o755)
    for way in ("argument", "environment"):
        environment = {**os.environ, "QUERIES": typed} if way == "environment" else dict(os.environ)
        arguments = [f"QUERIES={typed}"] if way == "argument" else []
        done = subprocess.run(
            ["make", "demo", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        words = (tmp_path / "given").read_text().split("\0")
        assert words[words.index("--queries") + 1] == typed
        assert not (tmp_path / "pwned").exists()
