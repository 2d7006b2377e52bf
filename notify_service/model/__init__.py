"""The domain of notifications: what is pushed, to which devices, and the outcomes of pushes."""
