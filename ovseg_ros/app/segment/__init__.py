"""`ovseg segment`: pictures, videos and recordings in, masks with names out."""
