"""Between chat servers: one stream a pair, batches of frames, and the ways to owners, homes and edges."""
