"""Hours of random play with the real node in a process of its own; `make soak` runs it."""
