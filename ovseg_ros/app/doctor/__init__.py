"""`ovseg doctor`: what stands between this machine and the first answer, each with its cure."""
