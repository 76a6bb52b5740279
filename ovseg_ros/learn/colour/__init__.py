"""Training of the colour mask network on photographs with masks."""
