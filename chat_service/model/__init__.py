"""What chat talks about: entries, conversations and their fate. It knows no transport and no store."""
