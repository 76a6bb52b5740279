"""One reader for each kind of file: text, pictures, depth, cameras, films, recordings, whole frames."""
