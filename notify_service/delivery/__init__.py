"""The delivery of pushes: events are read, decided, sent, and acknowledged once each push has an outcome."""
