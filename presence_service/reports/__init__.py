"""The reports of chat servers, and the end of servers that died."""
