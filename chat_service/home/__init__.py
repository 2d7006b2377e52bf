"""The home role: the connected sessions of each user, and their presence."""
