"""CLIP finetuning and mask prompt tuning on stored pairs."""
