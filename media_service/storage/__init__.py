"""Implementations of the ports of media, on MongoDB and S3."""
