"""The ovseg command and the demo."""
