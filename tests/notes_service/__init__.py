"""A small service on servicekit: the template of a new service, and the proof of what it gets for nothing."""
