"""The calls of chat: what each takes from a request, asks of the domain, and answers."""
