"""The mesh: one stream per pair of chat servers, and routers to the owners, homes and edges on them."""
