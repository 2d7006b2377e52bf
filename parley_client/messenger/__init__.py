"""The messenger for a terminal: one model between the SDK and the widgets, which know nothing of the network."""
