"""Building and loading networks: presets, checkpoints, bundled weights."""
