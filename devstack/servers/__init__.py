"""How each real server is started and how one sees that it is well: one module a server."""
