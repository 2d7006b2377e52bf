"""The edge: ends the streams of devices."""
