"""What the chat service keeps, and where: MongoDB for the truth, Redis for the index of changes."""
