"""`ovseg download`: the table, what is fetched, what is said, and the exit codes."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from no_network import forbid_network
from weights_server import serve, sha256

from ovseg_ros.app.cli import main
from ovseg_ros.app.weights import download_presets
from ovseg_ros.models.downloads import files as table
from ovseg_ros.models.downloads.files import known_files

SAM, CLIP = "sam_vit_b_01ec64.pth", "clip_vit_b_16_laion2b.safetensors"
CHECKPOINT = "ovseg_swinbase_vitL14_ft_mpt.pth"
CONTENT = b"the weights" * 5000


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    return tmp_path / "xdg" / "ovseg"


@pytest.fixture
def server(monkeypatch):
    """Every file that can be fetched comes from here, has the same content, and known hashes are of that."""
    with serve(content=CONTENT, storage="localhost", linked_sha256=sha256(CONTENT)) as behaviour:
        rows = tuple(
            replace(
                file,
                url=file.url and f"{behaviour.url}/hub",
                size=file.size and len(CONTENT),
                sha256=file.sha256 and sha256(CONTENT),
                md5_prefix=file.md5_prefix and hashlib.md5(CONTENT).hexdigest()[:6],
            )
            for file in known_files()
        )
        monkeypatch.setattr(table, "known_files", lambda: rows)
        monkeypatch.setattr(download_presets, "known_files", lambda: rows)
        yield behaviour


@pytest.fixture
def no_network(monkeypatch):
    forbid_network(monkeypatch)


def names(folder):
    return sorted(p.name for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))


def test_a_preset_is_fetched_to_the_cache_and_then_only_checked(server, cache, capsys):
    assert main(["download", "vitb16"]) == 0
    assert names(cache) == [CLIP, f"{CLIP}.sha256", SAM]
    out, err = capsys.readouterr()
    assert f"no public source states the SHA-256 of {CLIP}" in err
    assert f"SHA-256 of {SAM}" not in err
    assert "the server's SHA-256" in out
    assert f"to fetch: 2 files, 0 MB and 1 of unstated size, into {cache}" in out
    assert "Apache-2.0" in out
    assert "vitb16: 2 files there and verified" in out
    assert SAM in err  # the bar
    assert "NON-COMMERCIAL" not in err
    server.requests.clear()
    assert main(["download", "vitb16"]) == 0
    out, err = capsys.readouterr()
    assert server.requests == []
    assert "to fetch" not in out
    assert str(cache / SAM) in out
    assert f"checking {cache / SAM}" in err


def test_weights_dir_is_where_files_go(server, tmp_path, cache):
    assert main(["download", "vitb16", "--weights-dir", str(tmp_path / "own")]) == 0
    assert SAM in names(tmp_path / "own")
    assert not cache.exists()


def test_two_presets_share_a_file(server, cache):
    assert main(["download", "vitb16", "vitl14", "vitb16"]) == 0
    asked = [path for path, _ in server.requests if path == "/hub"]
    assert len(asked) == 5  # four files, and what the hash of one of them is


def test_offline_checks_what_is_there_and_opens_no_socket(no_network, cache, capsys):
    assert main(["download", "vitb16", "--offline"]) == 2
    err = capsys.readouterr().err
    for word in (SAM, CLIP, "offline", f"put it at {cache / SAM}"):
        assert word in err
    assert not cache.exists()
    cache.mkdir(parents=True)
    (cache / CLIP).write_bytes(CONTENT)  # of which nothing is known
    (cache / SAM).write_bytes(CONTENT)
    assert main(["download", "vitb16", "--offline"]) == 2
    err = capsys.readouterr().err
    assert f"expected {cache / SAM} with 375042383 bytes, got {len(CONTENT)}" in err
    assert err.count("ovseg: ") == 1


def test_offline_is_content_with_files_that_are_right(server, cache, no_network, capsys):
    cache.mkdir(parents=True)
    (cache / CLIP).write_bytes(CONTENT)
    (cache / SAM).write_bytes(CONTENT)
    assert main(["download", "vitb16", "--offline"]) == 0
    assert "2 files there and verified" in capsys.readouterr().out


@pytest.mark.parametrize("preset", ["mini", "lite"])
def test_presets_that_need_nothing_say_so(preset, no_network, capsys):
    assert main(["download", preset]) == 0
    assert f"{preset}: nothing to fetch" in capsys.readouterr().out


def test_the_papers_files_are_got_by_hand(no_network, cache, capsys):
    assert main(["download", "ovseg"]) == 2
    err = capsys.readouterr().err
    assert "NON-COMMERCIAL: CC-BY-NC-4.0 is the licence of 4 files of ovseg" in err
    assert "https://creativecommons.org/licenses/by-nc/4.0/" in err
    assert err.count("By hand") == 1  # four parts, one checkpoint
    for step in (
        f"1. get {CHECKPOINT} from https://github.com/facebookresearch/ov-seg/",
        "(its MD5 begins with 526080)",
        f"2. put it at {cache / CHECKPOINT}",
        f"3. run: ovseg convert-checkpoint {cache / CHECKPOINT}\n",
    ):
        assert step in err


def test_what_can_be_fetched_of_a_non_commercial_preset_is_fetched(server, cache, capsys):
    assert main(["download", "ovseg_sam"]) == 2
    assert names(cache) == ["sam_vit_l_0b3195.pth"]
    out, err = capsys.readouterr()
    assert "1 file of ovseg_sam" in err
    assert f"ovseg convert-checkpoint {cache / 'ovseg_clip_l_9a1909.pth'}" in err
    assert "verified" not in out


def test_a_checkpoint_that_is_here_has_only_to_be_converted(server, tmp_path, capsys):
    (tmp_path / CHECKPOINT).write_bytes(CONTENT)
    assert main(["download", "ovseg", "--weights-dir", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert "not converted yet" in err
    out_dir = tmp_path / CHECKPOINT.removesuffix(".pth")
    assert f"ovseg convert-checkpoint {tmp_path / CHECKPOINT} --out {out_dir}\n" in err
    assert "By hand" not in err


def test_a_damaged_checkpoint_is_not_for_converting(no_network, tmp_path, capsys):
    (tmp_path / CHECKPOINT).write_bytes(CONTENT)
    assert main(["download", "ovseg", "--weights-dir", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert "MD5 beginning 526080" in err
    assert "not converted yet" not in err


def test_converted_parts_complete_the_preset(server, cache, capsys):
    folder = cache / CHECKPOINT.removesuffix(".pth")
    folder.mkdir(parents=True)
    for part in ("proposals", "clip", "prompts", "non_object"):
        (folder / f"{part}.safetensors").write_bytes(CONTENT)
    assert main(["download", "ovseg"]) == 0
    assert "ovseg: 4 files there and verified" in capsys.readouterr().out
    assert server.requests == []


def test_one_bad_file_does_not_keep_the_others_away(server, cache, capsys):
    server.failures = [404]
    assert main(["download", "vitb16"]) == 2
    assert names(cache) == [CLIP, f"{CLIP}.sha256"]
    err = capsys.readouterr().err
    assert f"ovseg: cannot fetch {SAM}" in err
    assert "404" in err


def test_the_list_has_every_file_and_fetches_none(no_network, cache, capsys):
    assert main(["download", "--list"]) == 0
    out = capsys.readouterr().out
    for file in known_files():
        assert file.name in out
        assert file.converted_from is not None or file.source_page in out
    assert out.count("\n") == len(known_files()) + 1
    assert main(["download", "--list", "vitb16"]) == 0
    out = capsys.readouterr().out
    assert SAM in out
    assert "sam_vit_h" not in out
    assert not cache.exists()
    cache.mkdir(parents=True)
    (cache / SAM).write_bytes(CONTENT)
    assert main(["download", "--list"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(SAM))
    assert line.endswith(str(cache / SAM))
    assert "375 MB" in line


@pytest.mark.parametrize(
    "arguments", [[], ["--offline"], ["nonesuch"], ["vitb16", "nonesuch"], ["missing.yaml"]]
)
def test_no_preset_or_an_unknown_one_lists_the_known_ones(arguments, no_network, cache, capsys):
    assert main(["download", *arguments]) == 2
    out, err = capsys.readouterr()
    for preset in ("mini", "vitb16", "ovseg"):
        assert preset in err
    assert out == ""
    assert not cache.exists()


def test_a_preset_of_the_users_own(server, cache, tmp_path, capsys):
    preset = tmp_path / "mine.yaml"
    preset.write_text(
        "description: mine\n"
        "proposer: {kind: depth_clusters}\n"
        f"encoder: {{kind: clip, model: ViT-B-16, weights: {CLIP}, prompts: mine.safetensors}}\n"
    )
    assert main(["download", str(preset)]) == 2
    assert names(cache) == [CLIP, f"{CLIP}.sha256"]
    err = capsys.readouterr().err
    assert "1. get mine.safetensors from the preset's author" in err
    (tmp_path / "mine.safetensors").write_bytes(b"prompts")  # beside the preset
    assert main(["download", str(preset)]) == 0
