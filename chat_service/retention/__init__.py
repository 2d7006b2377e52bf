"""Retention: removal of content that has expired. Members, titles and seqs stay as the removed entries left them."""
