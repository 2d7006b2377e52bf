"""The stores of the chat service: MongoDB holds all durable state, Redis the index of changed conversations."""
