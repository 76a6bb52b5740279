"""examples/tour.ipynb runs from top to bottom, and says what its text promises."""

from __future__ import annotations

import pytest
from repository import ROOT

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
pytest.importorskip("ipykernel", reason="ipykernel is not installed")

NOTEBOOK = ROOT / "examples" / "tour.ipynb"


def said(notebook) -> str:
    """What its cells printed."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output["text"] for output in outputs if output.get("name") == "stdout")


def pictures(notebook) -> int:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return sum("image/jpeg" in output.get("data", {}) for output in outputs)


PROMISES = (
    "cat 0.",
    "missing: dog",
    "motorcycle 0.",
    "decided from depth",
    "found True",
    "precision 100%",
)


@pytest.fixture(scope="module")
def run():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=200, kernel_name="python3", resources={"metadata": {"path": str(NOTEBOOK.parent)}}
    )
    return client.execute()


@pytest.mark.parametrize("promise", PROMISES)
def test_it_says_what_its_text_promises(run, promise):
    assert promise in said(run)


def test_the_stored_outputs_are_of_these_cells(run):
    """Who changes a cell runs it again: `jupyter execute --inplace examples/tour.ipynb`."""
    stored = nbformat.read(NOTEBOOK, as_version=4)
    assert [promise for promise in PROMISES if promise not in said(stored)] == []
    assert pictures(stored) == pictures(run) > 5
    assert NOTEBOOK.stat().st_size < 500_000
    assert str(ROOT) not in NOTEBOOK.read_text(encoding="utf-8"), "a path of this machine"
