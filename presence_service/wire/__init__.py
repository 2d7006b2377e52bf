"""Pure functions between the protos of presence and the domain, and the client of the directory."""
