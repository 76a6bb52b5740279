"""The table of parameters and what is made of it."""
