"""The files of examples/many_machines are read by what will read them, and their commands exist."""

from __future__ import annotations

import re
import shlex
import subprocess

import pytest
import yaml
from repository import ROOT

from ovseg_ros.app.cli import _parser

FOLDER = ROOT / "examples" / "many_machines"


@pytest.mark.parametrize("name", ["laptop.sh", "slurm.sbatch"])
def test_bash_reads_the_scripts(name: str) -> None:
    done = subprocess.run(["bash", "-n", str(FOLDER / name)], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_job_of_kuberay_is_whole() -> None:
    job, claim = yaml.safe_load_all((FOLDER / "rayjob.yaml").read_text(encoding="utf-8"))
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    cluster = job["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        (volume,) = pod["volumes"]
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        assert container["volumeMounts"] == [{"name": volume["name"], "mountPath": "/data"}]
        assert container["resources"]["requests"] == container["resources"]["limits"]
    assert groups[0]["rayStartParams"]["num-cpus"] == "0"


@pytest.mark.parametrize("name", ["laptop.sh", "slurm.sbatch", "rayjob.yaml"])
def test_the_commands_are_understood(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8").replace("\\\n", " ")
    if name == "rayjob.yaml":
        text = next(iter(yaml.safe_load_all(text)))["spec"]["entrypoint"].split("-c '")[1].rstrip("'")
    (command,) = re.findall(r"ovseg ((?:segment|learn) .*)", text)
    words = shlex.split(re.sub(r"\$again|\$\(test .*? --resume\)", "--resume", command.split("||")[0]))
    options = _parser().parse_args(words)
    assert options.ray
    assert options.resume
