"""What one user sets for conversations, and nobody else sees."""
