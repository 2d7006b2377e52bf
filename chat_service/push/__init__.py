"""Pushes: which deliveries are queued for the notify service, and the queue itself."""
