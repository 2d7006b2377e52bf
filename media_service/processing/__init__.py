"""The formats of files: detection, private metadata, dimensions and durations, thumbnails."""
