"""One reader for each kind of file: pictures, depth, cameras, and frames put together from them."""
