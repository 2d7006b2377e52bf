"""Retention: removal of content that has expired. The effects of removed entries on members, titles and seqs remain."""
