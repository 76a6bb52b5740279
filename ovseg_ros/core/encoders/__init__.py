"""CLIP on regions and words: mask prompts, pooling, precision."""

from ovseg_ros.core.encoders.accelerate import AccelerateOptions, accelerate
from ovseg_ros.core.encoders.agreement import TIE, AgreementReport
from ovseg_ros.core.encoders.attention_pooled import AttentionPooledClip
from ovseg_ros.core.encoders.mask_clip import MaskPromptedClip, new_mask_prompts
from ovseg_ros.core.encoders.pooled_clip import (
    POOLING_BUDGET,
    MaskPooling,
    PooledClip,
    can_pool,
    cell_shares,
    mask_bytes,
)
from ovseg_ros.core.encoders.text_cache import SENTENCES_AT_ONCE, TextCache
from ovseg_ros.core.encoders.timm_tower import attends_to_pool

__all__ = [
    "POOLING_BUDGET",
    "SENTENCES_AT_ONCE",
    "TIE",
    "AccelerateOptions",
    "AgreementReport",
    "AttentionPooledClip",
    "MaskPooling",
    "MaskPromptedClip",
    "PooledClip",
    "TextCache",
    "accelerate",
    "attends_to_pool",
    "can_pool",
    "cell_shares",
    "mask_bytes",
    "new_mask_prompts",
]
