"""The ViT's forward pass for inference; that it is the tower's own is tested in test_core_mask_clip.py."""

import pytest
import torch

from ovseg_ros.core.vit_tower import _mixed


@pytest.mark.parametrize("count", [1, 4, 9])
@pytest.mark.parametrize("asked", [1, 13])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_is_the_formula(count, asked, dtype):
    generator = torch.Generator().manual_seed(count)
    query, key, value = (
        torch.randn(count, 3, rows, 8, generator=generator).to(dtype) for rows in (asked, 13, 13)
    )
    q, k, v = (rows.double() for rows in (query, key, value))
    wanted = (q @ k.mT / 8**0.5).softmax(dim=-1) @ v
    mixed = _mixed(query, key.transpose(1, 2).contiguous().transpose(1, 2), value)
    assert mixed.dtype == dtype
    assert mixed.shape == query.shape
    assert torch.allclose(mixed.double(), wanted, atol=1e-6 if dtype == torch.float32 else 0.03)
