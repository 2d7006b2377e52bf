"""Pure functions between the protos of media and the domain, and the client of the directory."""
