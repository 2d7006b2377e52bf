"""Measurements of a whole system on this machine: what a message, a delivery and an idle device cost."""
