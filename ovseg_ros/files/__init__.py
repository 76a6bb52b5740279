"""One reader for each kind of file: pictures, depth, cameras, films, recordings, whole frames."""
