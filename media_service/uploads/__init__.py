"""Uploads: begun, streamed or in parts, and completed."""
