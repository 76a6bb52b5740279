"""`ovseg ask`: a question to a running node, its answer in words, as JSON, in files or as a picture."""
