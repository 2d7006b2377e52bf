"""Build-time tools: they make importable stubs of `protos/`, and see that the contract only grows."""
