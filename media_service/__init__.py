"""The media service: uploads, downloads, thumbnails and the removal of files; see docs/media.md."""
