"""The unary calls and streams of the chat services: decode the request, call the domain, encode the response."""
