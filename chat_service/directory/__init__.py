"""The directory for the other services: relations of users, access to media, and the context of notifications."""
