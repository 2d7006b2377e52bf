"""Pure functions between the protos of notify and the domain, and the client of the directory."""
