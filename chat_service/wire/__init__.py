"""Between the domain and the wire: pure functions."""
