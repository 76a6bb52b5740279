"""`ovseg teach`: a thing that is shown gets a name of its own, in a running node or in a memory file."""
