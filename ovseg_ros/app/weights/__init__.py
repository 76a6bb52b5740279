"""`ovseg download` and `ovseg convert-checkpoint`: weights from elsewhere."""
