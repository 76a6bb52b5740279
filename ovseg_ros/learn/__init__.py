"""Learning mask-adapted CLIP: data, training, prompts."""
