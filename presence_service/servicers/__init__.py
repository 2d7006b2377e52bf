"""The gRPC services of presence, one class each."""
