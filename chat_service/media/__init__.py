"""The media service, as chat calls it: claims of files, and the files of a user."""
