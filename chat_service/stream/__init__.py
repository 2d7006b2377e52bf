"""The edge role: the streams of devices, from the handshake to the drain."""
