"""Weights files: what is read however it was saved, and what is refused, with file, expectation and cure."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ovseg_ros.errors import WeightsError
from ovseg_ros.models.checkpoints.checkpoint import DEFAULT_CURE, check_finite, load_exactly, read_weights
from ovseg_ros.models.checkpoints.prefixes import unwrapped
from ovseg_ros.models.downloads.verify import sha256_of

STATE = {"a.weight": torch.arange(12.0).reshape(3, 4), "b": torch.ones(4).half(), "n": torch.tensor(3)}


class Evil:
    """Unpickled by an ordinary loader, it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def same(tensors, expected=STATE):
    assert list(tensors) == list(expected)
    for key, value in expected.items():
        assert tensors[key].dtype == value.dtype
        assert torch.equal(tensors[key], value)
    return True


def refused(path, *words, **options):
    """The message of the WeightsError, which names file and cure and holds every word."""
    with pytest.raises(WeightsError) as caught:
        read_weights(path, cure="do get another", **options)
    message = str(caught.value)
    for word in (str(path), "do get another", *words):
        assert word in message, message
    return message


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("ending", ["pth", "pt", "bin"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"model": state, "optimizer": {"lr": 0.1, "steps": [1, 2]}, "epoch": 3},
        lambda state: {"state_dict": state, "name": "run 7"},
        lambda state: {"model": {"state_dict": state}},
        lambda state: {"module." + key: value for key, value in state.items()},
        lambda state: {"state_dict": {"module." + key: value for key, value in state.items()}},
    ],
    ids=["plain", "model", "state_dict", "both", "module", "state_dict of module"],
)
def test_torch_files(tmp_path, wrap, ending, legacy):
    path = tmp_path / f"weights.{ending}"
    torch.save(wrap(STATE), path, _use_new_zipfile_serialization=not legacy)
    tensors, metadata = read_weights(path)
    assert same(tensors)
    assert metadata == {}


def test_safetensors_with_metadata_under_any_name(tmp_path):
    for name in ("weights.safetensors", "weights.bin"):
        save_file(STATE, tmp_path / name, {"activation": "gelu"})
        tensors, metadata = read_weights(tmp_path / name)
        assert same({key: tensors[key] for key in STATE})
        assert metadata == {"activation": "gelu"}


def test_numbers_become_tensors_and_parameters_plain(tmp_path):
    path = tmp_path / "x.pth"
    torch.save({"size": 224, "scale": 0.5, "module.p": nn.Parameter(torch.ones(2))}, path)
    tensors, _ = read_weights(path)
    assert (int(tensors["size"]), float(tensors["scale"])) == (224, 0.5)
    assert not tensors["module.p"].requires_grad  # only a prefix that all have comes off


def test_zip_archives_are_mapped_and_not_read(tmp_path):
    path = tmp_path / "x.pth"
    torch.save({"a": torch.zeros(1000)}, path)
    tensors, _ = read_weights(path)
    tensors["a"][0] = 1.0  # a private mapping: the file stays as it is
    assert float(read_weights(path)[0]["a"][0]) == 0.0


def test_torchscript_gives_its_tensors_and_runs_nothing(tmp_path):
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    network.register_buffer("turned", torch.arange(6).reshape(2, 3).half().T)
    network.register_buffer("empty", torch.zeros(0, 3))
    torch.jit.save(torch.jit.script(network), tmp_path / "m.pt")
    tensors, _ = read_weights(tmp_path / "m.pt")
    expected = network.state_dict()
    assert tensors.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(tensors[key], value)
        assert tensors[key].dtype == value.dtype


def test_torchscript_with_code_in_its_tree_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        archive.writestr("m/data.pkl", pickle.dumps({"a": Evil(tmp_path / "made")}, protocol=2))
        archive.writestr("m/constants.pkl", pickle.dumps(()))
    refused(tmp_path / "m.pt", "expected only tensors in", "code or objects other than tensors, posix.mkdir")
    assert not (tmp_path / "made").exists()


def shells(depth, inside=b"N"):
    """The pickle of an object in an object in an object …, of the archive's own classes."""
    return b"\x80\x02" + b"c__torch__\nA\n)\x81}(X\x01\x00\x00\x00a" * depth + inside + b"ub" * depth + b"."


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        (shells(100_000), ("is damaged",)),  # deeper than any program can follow
        (shells(3, b"I5\n"), ("expected a state dict", "an empty one")),
        (shells(1, b"(X\x01\x00\x00\x00xI3\ntQ"), ("is damaged",)),  # a storage that is none
        (b"\x80\x02]q\x00.", ("an empty one",)),
    ],
)
def test_odd_torchscript_trees_are_refused(tmp_path, tree, words):
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        archive.writestr("m/data.pkl", tree)
        archive.writestr("m/constants.pkl", pickle.dumps(()))
    refused(tmp_path / "m.pt", *words)


def test_damaged_torchscript_is_refused(tmp_path):
    torch.jit.save(torch.jit.script(nn.Linear(3, 4)), tmp_path / "m.pt")
    for missing in ("data/0", "data.pkl"):
        with zipfile.ZipFile(tmp_path / "m.pt") as old, zipfile.ZipFile(tmp_path / "n.pt", "w") as new:
            for name in old.namelist():
                if not name.endswith(missing):
                    new.writestr(name, old.read(name))
        refused(tmp_path / "n.pt", "expected a")
    with zipfile.ZipFile(tmp_path / "m.pt") as old, zipfile.ZipFile(tmp_path / "n.pt", "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name)[: 8 if name.endswith("data/0") else None])
    refused(tmp_path / "n.pt", "is damaged", "ends too early")


@pytest.mark.parametrize("kind", ["zip", "legacy", "nested"])
def test_code_is_refused_and_does_not_run(tmp_path, kind):
    path = tmp_path / "evil.pth"
    content = (
        {"model": STATE, "hook": Evil(tmp_path / "made")} if kind == "nested" else Evil(tmp_path / "made")
    )
    torch.save(content, path, _use_new_zipfile_serialization=kind != "legacy")
    message = refused(path, "it holds code or objects other than tensors and is refused", "posix.mkdir")
    assert "weights_only=False" in message, "says how, for those who trust it"
    assert not (tmp_path / "made").exists()


def test_an_environment_variable_cannot_let_code_in(tmp_path, monkeypatch):
    torch.save(Evil(tmp_path / "made"), tmp_path / "evil.pth")
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    refused(tmp_path / "evil.pth", "is refused")
    assert not (tmp_path / "made").exists()


NUMBERS = [np.float64(1.5), np.float32(-2.5), np.float16(0.5), np.int64(-7), np.uint8(200), np.bool_(True)]


@pytest.mark.parametrize("number", [*NUMBERS, np.array([1.5], ">f8")[0]])
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("module", ["numpy._core.multiarray", "numpy.core.multiarray"])
def test_numpys_numbers_are_numbers(tmp_path, number, legacy, module):
    """A training program's best score beside the weights, or a scale among them; NumPy 1 has another name."""
    content = {"model": STATE | {"scale": number}, "best": number, "epoch": np.int64(3)}
    torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=not legacy)
    own = b"numpy._core.multiarray" if int(np.__version__[0]) > 1 else b"numpy.core.multiarray"
    if legacy:  # a pickle without a table of lengths
        written = (tmp_path / "x.pth").read_bytes()
        assert own in written
        (tmp_path / "x.pth").write_bytes(written.replace(own, module.encode()))
    tensors, _ = read_weights(tmp_path / "x.pth")
    assert tensors.pop("scale").item() == number
    assert same(tensors)


@pytest.mark.parametrize(
    "content",
    [
        nn.Linear(2, 2),
        {"a": torch.ones(1), "b": np.str_("text")},
        {"a": torch.ones(1), "b": np.datetime64("2020-01-01")},
        {"a": torch.ones(1), "b": np.ones(2)},
    ],
)
def test_objects_other_than_tensors_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "x.pth")
    refused(tmp_path / "x.pth", "it holds code or objects other than tensors and is refused")


def test_the_advice_for_trusted_files_works(tmp_path):
    """The command in the message, run as it stands, gives a file that is read."""
    torch.save({"model": STATE, "best": np.ones(2)}, tmp_path / "mine.pth")
    command = re.search(r'python -c "(.*)"$', refused(tmp_path / "mine.pth")).group(1)
    subprocess.run([sys.executable, "-c", command], check=True, cwd=tmp_path, timeout=120)
    tensors, _ = read_weights(tmp_path / "mine.safetensors")
    assert same({key: tensors[key] for key in STATE})


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_that_torch_did_not_write_is_refused(tmp_path, protocol):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(Evil(tmp_path / "made"), protocol=protocol))
    refused(tmp_path / "x.pkl", "a pickle that torch did not write")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_truncated_files(tmp_path, share):
    state = {"a": torch.randn(500, 5)}
    save_file(state, tmp_path / "x.safetensors")
    torch.save(state, tmp_path / "x.pth")
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for name in ("x.safetensors", "x.pth", "old.pth"):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
        refused(path, "expected" if name.endswith(".pth") else "is not a safetensors file, or not all of one")


def test_missing_files_and_folders(tmp_path):
    refused(tmp_path / "none.pth", "expected the weights file", "does not exist")
    with pytest.raises(WeightsError, match="it is a folder; name a file in it"):
        read_weights(tmp_path)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a Git LFS pointer"),
        (b"<!DOCTYPE html><html>Sign in", "a web page"),
        (b"\x1f\x8b\x08\x00", "a compressed file, unpack it first"),
        (b"hello", "another kind of file"),
    ],
)
def test_what_was_saved_in_place_of_weights_is_named(tmp_path, content, word):
    (tmp_path / "x.pth").write_bytes(content)
    refused(tmp_path / "x.pth", word, "expected weights")
    (tmp_path / "x.safetensors").write_bytes(content)
    refused(tmp_path / "x.safetensors", "is not a safetensors file", word if word[:3] != "ano" else "")


def test_zip_without_a_state_dict(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    refused(tmp_path / "x.pth", "zip archive that torch did not write", "no data.pkl")
    torch.save(STATE, tmp_path / "y.pth")
    with zipfile.ZipFile(tmp_path / "y.pth") as old, zipfile.ZipFile(tmp_path / "z.pth", "w") as new:
        for name in old.namelist():
            if "/data/" not in name:
                new.writestr(name, old.read(name))
    refused(tmp_path / "z.pth", "is damaged or truncated")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (torch.ones(2), ("got a Tensor",)),
        ([torch.ones(2)], ("got a list",)),
        ({}, ("an empty one",)),
        ({1: torch.ones(2)}, ("got a mapping with the keys ['1']",)),
        ({"a": torch.ones(1), "b": "text"}, ("no tensors", "b (a str)")),
        ({"best": {"a": torch.ones(1)}, "epoch": 3}, ("best (a mapping with the keys ['a'])",)),
        ({"a": torch.ones(2, 2).to_sparse()}, ("a (a Tensor)",)),
    ],
)
def test_what_is_no_state_dict(tmp_path, content, words):
    torch.save(content, tmp_path / "x.pth")
    refused(tmp_path / "x.pth", "expected a state dict (name: tensor)", *words)


def test_another_sha256(tmp_path):
    torch.save(STATE, tmp_path / "x.pth")
    digest = sha256_of(tmp_path / "x.pth")
    assert same(read_weights(tmp_path / "x.pth", sha256=digest.upper())[0])
    refused(tmp_path / "x.pth", f"SHA-256 {'0' * 64}, got {digest}", sha256="0" * 64)


def test_without_a_cure_there_is_still_one(tmp_path):
    with pytest.raises(WeightsError, match=DEFAULT_CURE):
        read_weights(tmp_path / "none.pth")


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def load(module, state, tmp_path, **options):
    load_exactly(module, state, path=tmp_path / "w.pth", what="a tiny network", cure="get it", **options)


def test_everything_fits(tmp_path):
    state = {key: torch.full_like(value, 2) for key, value in network().state_dict().items()}
    module = network().double()
    load(module, {k: v.half() if v.is_floating_point() else v.int() for k, v in state.items()}, tmp_path)
    for key, value in module.state_dict().items():
        assert (value == 2).all()
        assert value.dtype == (torch.int64 if "num_batches" in key else torch.float64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"0.bias": None}, r"missing \['0.bias'\]; get it"),
        ({"extra": torch.zeros(1)}, r"unexpected \['extra'\]"),
        ({"0.bias": torch.zeros(4)}, r"other shape \['0.bias \(4,\) instead of \(3,\)'\]"),
        ({"0.bias": torch.zeros(3).int()}, r"numbers \['0.bias torch.int32 instead of torch.float32'\]"),
        ({"1.num_batches_tracked": torch.tensor(1.0)}, r"torch.float32 instead of torch.int64"),
        ({"0.bias": torch.zeros(3).cfloat()}, r"torch.complex64 instead of"),
        ({"0.bias": None, "extra": torch.zeros(1)}, r"missing \['0.bias'\], unexpected \['extra'\]"),
        ({f"x{i:02}": torch.zeros(1) for i in range(12)}, r"'x09'\] and 2 more"),
        ({"0.bias": torch.tensor([0, torch.nan, 0])}, r"NaN or infinity in \['0.bias'\]; get it"),
        ({"0.bias": torch.tensor([0, 1e300, 0]).double()}, r"infinity in \['0.bias'\]"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_listed_and_nothing_is_copied(tmp_path, change, message):
    state = {key: torch.full_like(value, 2) for key, value in network().state_dict().items()} | change
    module = network()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with pytest.raises(WeightsError, match=message) as caught:
        load(module, {key: value for key, value in state.items() if value is not None}, tmp_path)
    assert str(tmp_path / "w.pth") in str(caught.value)
    assert "a tiny network" in str(caught.value) or "finite" in str(caught.value)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


@pytest.mark.parametrize("beginning", ["model.", "net.", "model.module.", "any.thing.else."])
def test_one_common_beginning_comes_off_if_then_all_fits(tmp_path, beginning):
    state = {beginning + key: torch.full_like(value, 2) for key, value in network().state_dict().items()}
    module = network()
    load(module, state, tmp_path)
    assert all((value == 2).all() for value in module.state_dict().values())
    for change in ({"x": torch.zeros(1)}, {f"{beginning}x": torch.zeros(1)}):
        with pytest.raises(WeightsError, match=r"missing .*unexpected"):
            load(network(), state | change, tmp_path)
    del state[f"{beginning}0.bias"]
    words = f"all names begin with '{beginning}', and what stands behind it does not fit either; get it"
    with pytest.raises(WeightsError, match=re.escape(words)):
        load(network(), state, tmp_path)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["_orig_mod.a.weight", "_orig_mod.b"], ["a.weight", "b"]),
        (["module._orig_mod.a.weight", "module._orig_mod.b"], ["a.weight", "b"]),
        (["_orig_mod.module.a.weight", "_orig_mod.module.b"], ["a.weight", "b"]),
        (["a._orig_mod.weight", "b"], ["a.weight", "b"]),
        (["_fsdp_wrapped_module.a._checkpoint_wrapped_module.weight", "b"], ["a.weight", "b"]),
        (["a._orig_mod.weight", "a.weight"], ["a._orig_mod.weight", "a.weight"]),
        (["module.a.weight", "b"], ["module.a.weight", "b"]),
        (["_orig_mod", "b"], ["_orig_mod", "b"]),
        (["model.a", "model.b"], ["model.a", "model.b"]),
    ],
)
def test_what_wrappers_of_torch_insert_comes_off(tmp_path, names, expected):
    for file, write in ((tmp_path / "x.pth", torch.save), (tmp_path / "x.safetensors", save_file)):
        write({name: torch.full((1,), float(i)) for i, name in enumerate(names)}, file)
        tensors, _ = read_weights(file)
        assert sorted(tensors) == sorted(expected)
        assert [float(tensors[name]) for name in expected] == list(map(float, range(len(names))))


def test_readers_of_single_names_look_behind_a_common_beginning():
    state = {"model.clip.mask_prompts": torch.ones(1), "model.clip.b": torch.ones(2)}
    assert sorted(unwrapped(state, ("mask_prompts", "none"))) == ["b", "mask_prompts"]
    assert sorted(unwrapped(state, ("clip.b",))) == ["clip.b", "clip.mask_prompts"]
    assert unwrapped(state, ("c",)) == state
    assert unwrapped({}, ("c",)) == {}


def test_ignored_names_and_patterns_on_either_side(tmp_path):
    state = network().state_dict() | {"teacher.a": torch.zeros(1), "step": torch.zeros(1)}
    del state["1.num_batches_tracked"]
    load(network(), state, tmp_path, ignore=("*.num_batches_tracked", "teacher.*", "step"))
    with pytest.raises(WeightsError, match=r"unexpected \['step'\]"):
        load(network(), state, tmp_path, ignore=("*.num_batches_tracked", "teacher.*"))
    with pytest.raises(WeightsError, match=r"missing \['1.num_batches_tracked'\]"):
        load(network(), state, tmp_path, ignore=("teacher.*", "step"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e5m2])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_finite_in_every_kind_of_float(tmp_path, dtype, value):
    good = {"a": torch.ones(3).to(dtype), "none": torch.ones(0), "n": torch.tensor([1])}
    check_finite(good, path=tmp_path)
    bad = good | {"b": torch.tensor([1.0, value]).to(dtype)}
    with pytest.raises(WeightsError, match=r"NaN or infinity in \['b'\]"):
        check_finite(bad, path=tmp_path)
