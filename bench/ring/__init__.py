"""The simulation of the product's own ring: balance, moved keys, the return of devices, and the mesh."""
