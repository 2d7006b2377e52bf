"""Reading conversations for one user: ranges of logs, messages, summaries, searches and personal settings."""
