"""Watches: whose presence is told to whom, and when."""
