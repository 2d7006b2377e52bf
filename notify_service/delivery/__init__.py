"""The delivery of pushes: events are read, decided, sent, and settled once each push has an outcome."""
