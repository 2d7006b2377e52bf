"""The process specs and health probes of the real servers, one module per server."""
