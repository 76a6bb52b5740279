"""What most tests of training start from: pairs on the disk and a tiny CLIP."""

from __future__ import annotations

from pathlib import Path

import pytest
from learn_fixtures import write_clip_preset, write_pairs


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """160 pairs of four nouns in four shards."""
    folder = tmp_path_factory.mktemp("pairs")
    write_pairs(folder, 160, per_shard=40)
    return folder


@pytest.fixture(scope="session")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a tiny CLIP whose licence its children inherit."""
    return write_clip_preset(tmp_path_factory.mktemp("clip"), licence="CC-BY-NC-4.0")
