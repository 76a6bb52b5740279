"""`ovseg web`: the demo page."""
