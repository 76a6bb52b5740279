"""The table of weights files, where files are looked for, and what is refused."""

from __future__ import annotations

import doctest
import hashlib
import re
import runpy
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from repository import ROOT

from ovseg_ros.errors import ConfigError, WeightsError
from ovseg_ros.models.downloads import download as fetching
from ovseg_ros.models.downloads import files
from ovseg_ros.models.downloads.download import resolve_file
from ovseg_ros.models.downloads.files import (
    FILES_TABLE,
    KnownFile,
    cache_dir,
    cure,
    files_of,
    find_file,
    known_by_sha256,
    known_file,
    known_files,
    read_table,
    recorded_sha256,
    sha256_record,
    verify,
)
from ovseg_ros.models.downloads.verify import described_sha256
from ovseg_ros.models.presets import list_presets, preset_weights

SAM = "sam_vit_b_01ec64.pth"
PART = "ovseg_swinbase_vitL14_ft_mpt/clip.safetensors"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))


def put(path: Path, content: bytes = b"weights") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("preset", list_presets())
def test_the_table_has_what_each_preset_names(preset):
    assert {file.name for file in files_of(preset)} == set(preset_weights(preset))
    assert files_of("nonesuch") == ()


# Of these nobody states a commit or a hash: what the server says of them is all there is.
UNPINNED = {
    "clip_siglip2_b_16_256_webli.safetensors",
    "siglip2_tokenizer.json",
    "clip_mobileclip2_s2_dfndr2b.safetensors",
    "clip_pe_core_b_16.safetensors",
}


def test_every_row_is_complete():
    for file in known_files():
        assert file.note, file.name
        assert urlsplit(file.source_page).scheme == "https"
        assert file.url is None or urlsplit(file.url).scheme == "https"
        assert set(file.presets) <= set(list_presets())
        assert file.non_commercial == ("NC" in file.licence or file.licence == "Apple-AMLR")
        assert bool(file.stated_by) == bool(file.sha256 or file.md5_prefix), (
            f"{file.name}: who states its hash?"
        )
        if file.url and "huggingface.co/" in file.url:  # whatever the main branch will be, it is this file
            pinned = re.search("/resolve/[0-9a-f]{40}/", file.url) or file.sha256
            assert bool(pinned) == (file.name not in UNPINNED), file.name
        whole = file.name.startswith("ovseg_") and "/" not in file.name  # the paper's files hold CLIP too
        assert (file.activation is not None) == (whole or "clip" in Path(file.name).name), file.name
        if file.converted_from:
            source = known_file(file.converted_from)
            assert Path(file.name).parent.name == Path(source.name).stem
            assert (file.url, file.licence) == (None, source.licence)
        if file.presets and not file.converted_from:
            assert file.url, f"{file.name} is read by a bundled preset: a program must be able to fetch it"


def test_free_presets_are_free_and_the_papers_are_not():
    bound = {preset for file in known_files() if file.non_commercial for preset in file.presets}
    assert bound == {"ovseg_sam", "ovseg", "mobileclip2"}


@pytest.mark.parametrize(
    ("name", "architecture", "tag"),
    [
        ("clip_vit_b_16_laion2b.safetensors", "ViT-B-16", "laion2b_s34b_b88k"),
        ("clip_vit_l_14_datacomp_xl.bin", "ViT-L-14", "datacomp_xl_s13b_b90k"),
        (
            "clip_convnext_large_d_320_laion2b_ft_soup.bin",
            "convnext_large_d_320",
            "laion2b_s29b_b131k_ft_soup",
        ),
        ("clip_convnext_base_w_laion2b_augreg.bin", "convnext_base_w", "laion2b_s13b_b82k_augreg"),
        ("clip_vit_b_16_openai.safetensors", "ViT-B-16", "openai"),
        ("clip_vit_l_14_openai.safetensors", "ViT-L-14", "openai"),
    ],
)
def test_clip_files_agree_with_open_clip_and_take_clips_own_normalisation(name, architecture, tag):
    from open_clip.pretrained import get_pretrained_cfg

    config = get_pretrained_cfg(architecture, tag)
    file = known_file(name)
    assert config["mean"] == (0.48145466, 0.4578275, 0.40821073)
    assert config["std"] == (0.26862954, 0.26130258, 0.27577711)
    assert f"huggingface.co/{config['hf_hub'].rstrip('/')}/resolve/" in file.url
    assert file.activation == ("quick_gelu" if config.get("quick_gelu") else "gelu")


@pytest.mark.parametrize(
    ("name", "architecture"),
    [("clip_vit_b_16_openai.pt", "ViT-B-16"), ("clip_vit_l_14_openai.pt", "ViT-L-14")],
)
def test_openais_own_addresses_state_the_hash(name, architecture):
    from open_clip.pretrained import get_pretrained_cfg

    file = known_file(name)
    assert file.url == get_pretrained_cfg(architecture, "openai")["url"]
    assert file.sha256 in file.url
    assert file.activation == "quick_gelu"


def test_files_are_known_by_content_too():
    sha256 = known_file(SAM).sha256
    assert known_by_sha256(sha256.upper()).name == SAM
    assert known_by_sha256("0" * 64) is None
    assert known_file("nonesuch.pth") is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([{}, {}], "each name once"),
        ([{"colour": "red"}], "does not know colour"),
        ([{"name": "/etc/a.pth"}], "one folder deep"),
        ([{"name": "../a.pth"}], "one folder deep"),
        ([{"name": "a/b/c.pth"}], "one folder deep"),
        ([{"name": None}], "one folder deep"),
        ([{"sha256": "ABC"}], "expected sha256 as"),
        ([{"md5_prefix": "12"}], "expected md5_prefix as"),
        ([{"activation": "relu"}], "gelu or quick_gelu"),
        ([{"licence": None}], "expected a licence"),
        ([{"source_page": None}], "expected a licence and a source_page"),
        ([{"converted_from": "b.pth"}], "not in the table"),
    ],
)
def test_a_row_that_cannot_be_right_is_refused(tmp_path, changes, message):
    path = tmp_path / "table.yaml"
    row = {"name": "a.pth", "licence": "MIT", "source_page": "https://example.org", "presets": []}
    for rows in ([], [row]):
        path.write_text(yaml.safe_dump({"files": rows}))
        assert [file.name for file in read_table(path)] == [row["name"] for row in rows]
    path.write_text(yaml.safe_dump({"files": [row | change for change in changes]}))
    with pytest.raises(ConfigError, match=message):
        read_table(path)


def test_the_cache_is_where_xdg_says(tmp_path, monkeypatch):
    assert cache_dir() == tmp_path / "xdg" / "ovseg"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for unset in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", unset)
        assert cache_dir() == tmp_path / "home" / ".cache" / "ovseg"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_dir() == tmp_path / "home" / ".cache" / "ovseg"


@pytest.mark.parametrize("name", [SAM, PART, "my/own/net.pth"])
def test_a_file_is_found_beside_the_preset_then_in_weights_dir_then_in_the_cache(tmp_path, name):
    beside, weights_dir = tmp_path / "beside", tmp_path / "weights"
    assert find_file(name, weights_dir, beside) is None
    for folder in (cache_dir(), weights_dir, beside):
        put(folder / name)
        assert find_file(name, weights_dir, beside) == folder / name
    assert find_file(name) == cache_dir() / name
    assert find_file(name, str(weights_dir)) == weights_dir / name


def test_a_path_is_itself_and_a_folder_is_no_file(tmp_path, monkeypatch):
    own = put(tmp_path / "elsewhere" / "net.pth")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_file(str(own)) == own
    assert find_file("~/elsewhere/net.pth") == own
    (tmp_path / "folder.pth").mkdir()
    assert find_file("folder.pth", tmp_path) is None


def test_resolving_verifies(tmp_path):
    put(tmp_path / SAM)
    with pytest.raises(
        WeightsError, match=r"with 375042383 bytes, got 7; delete it, then run `ovseg download vitb16`"
    ):
        resolve_file(SAM, weights_dir=tmp_path, beside=None, offline=True)


def test_what_the_table_does_not_know_is_handed_out_as_it_is(tmp_path):
    own = put(tmp_path / "net.pth")
    assert resolve_file("net.pth", weights_dir=None, beside=tmp_path, offline=True) == own
    with pytest.raises(WeightsError, match=f"other.pth, it is in none of {tmp_path}, .*; put it into one"):
        resolve_file("other.pth", weights_dir=None, beside=tmp_path, offline=False)


def test_a_missing_file_says_where_to_get_it_and_where_to_put_it(tmp_path, monkeypatch):
    monkeypatch.delattr(fetching, "download")  # offline is the default, and does not even ask
    file = known_file(SAM)
    with pytest.raises(WeightsError) as caught:
        resolve_file(SAM, weights_dir=tmp_path, offline=True)
    for word in (SAM, "ovseg download vitb16", file.url, f"put it at {tmp_path / SAM}", "Apache-2.0"):
        assert word in str(caught.value)
    with pytest.raises(WeightsError, match=f"put it at {cache_dir() / SAM}"):
        resolve_file(SAM)


@pytest.mark.parametrize("offline", [True, False])
def test_a_missing_part_says_what_to_convert(tmp_path, offline):
    checkpoint = tmp_path / "ovseg_swinbase_vitL14_ft_mpt.pth"
    with pytest.raises(WeightsError) as caught:
        resolve_file(PART, weights_dir=tmp_path, offline=offline)
    for word in (
        "GETTING_STARTED.md",
        "CC-BY-NC-4.0",
        f"ovseg convert-checkpoint {checkpoint} --out {(tmp_path / PART).parent}`",
        str(tmp_path / PART),
    ):
        assert word in str(caught.value)
    checkpoint = cache_dir() / checkpoint.name  # in the cache it needs no --out
    with pytest.raises(
        WeightsError, match=f"`ovseg convert-checkpoint {checkpoint}`, which makes {cache_dir() / PART}"
    ):
        resolve_file(PART, offline=offline)


def test_a_file_nobody_can_fetch_is_got_by_hand(tmp_path):
    text = cure(known_file("maskformer-swin-base-ade/model.safetensors"), tmp_path)
    assert text.startswith("get it by hand from https://huggingface.co/facebook/maskformer-swin-base-ade")


def test_online_it_is_fetched_to_weights_dir_or_the_cache(tmp_path, monkeypatch):
    asked = []

    def pretend(file, folder):
        asked.append((file.name, folder))
        return folder / file.name

    monkeypatch.setattr(fetching, "download", pretend)
    assert resolve_file(SAM, weights_dir=tmp_path, beside=tmp_path / "p", offline=False) == tmp_path / SAM
    assert resolve_file(SAM, beside=tmp_path / "p", offline=False) == cache_dir() / SAM
    assert asked == [(SAM, tmp_path), (SAM, cache_dir())]


def test_content_is_compared_with_all_that_is_known(tmp_path):
    path = put(tmp_path / "a.pth", b"weights")
    sha256, md5 = hashlib.sha256(b"weights").hexdigest(), hashlib.md5(b"weights").hexdigest()
    known = {"licence": "MIT", "source_page": "https://example.org", "name": "a.pth"}
    verify(path, KnownFile(**known, sha256=sha256, md5_prefix=md5[:6], size=7))
    for wrong, message in (
        ({"size": 8}, "with 8 bytes, got 7"),
        ({"sha256": "0" * 64}, f"SHA-256 {'0' * 64}, got {sha256}"),
        ({"md5_prefix": "000000"}, f"MD5 beginning 000000, got {md5}"),
    ):
        with pytest.raises(WeightsError, match=message) as caught:
            verify(path, KnownFile(**known, **wrong))
        assert str(path) in str(caught.value)
        assert "get it by hand from https://example.org" in str(caught.value)


def test_a_recorded_hash_holds_for_files_the_table_has_no_hash_of(tmp_path):
    path = put(tmp_path / "own.pth", b"weights")
    assert recorded_sha256(path) is None
    sha256_record(path).write_text(f"{hashlib.sha256(b'weights').hexdigest().upper()}  own.pth\n")
    assert verify(path) == path
    put(path, b"changed")
    with pytest.raises(WeightsError, match=hashlib.sha256(b"changed").hexdigest()):
        resolve_file("own.pth", weights_dir=tmp_path)
    known = KnownFile("own.pth", sha256=hashlib.sha256(b"weights").hexdigest(), licence="MIT")
    sha256_record(path).write_text(f"{hashlib.sha256(b'changed').hexdigest()}  own.pth\n")
    with pytest.raises(WeightsError, match="damaged or another file"):
        verify(path, known)  # what the table says counts more
    for nonsense in ("", "not a hash"):
        sha256_record(path).write_text(nonsense)
        with pytest.raises(WeightsError, match=r"expected a SHA-256 in .*own\.pth\.sha256"):
            verify(path)


def test_the_document_has_the_table_as_it_is():
    script = runpy.run_path(str(ROOT / "scripts" / "weights_table.py"))
    text = script["PAGE"].read_text(encoding="utf-8")
    assert script["with_table"](text) == text, "run python scripts/weights_table.py"
    for file in known_files():
        assert file.source_page in text
    assert FILES_TABLE.name in text


def test_examples():
    assert doctest.testmod(files)[0] == 0


@pytest.mark.parametrize("content", [b"{", b"[1]", b"{}", b'{"sha256": 3}', b"\xff\xfe\xff", b"[" * 100_000])
def test_a_description_beside_weights_that_says_no_sha256_is_refused(tmp_path: Path, content: bytes) -> None:
    assert described_sha256(tmp_path / "a.safetensors", "do it") is None
    (tmp_path / "a.json").write_bytes(b'{"sha256": "ab"}')
    assert described_sha256(tmp_path / "a.safetensors", "do it") == "ab"
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(WeightsError, match=r"a\.json.*; do it"):
        described_sha256(tmp_path / "a.safetensors", "do it")
