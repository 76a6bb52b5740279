"""`ovseg memory`: what a robot remembers, listed, found, shown, drawn, exported and forgotten."""
