"""The gRPC services of media, one class each."""
