"""The gRPC services of notify, one class each."""
