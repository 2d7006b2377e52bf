"""Development tools: stub generation from `protos/`, checks of the contract and of docstrings, and screenshots."""
