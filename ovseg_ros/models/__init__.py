"""Building and loading networks: presets, checkpoints, bundled weights. Presets are read without torch."""
