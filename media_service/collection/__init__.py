"""Background work on files: removal of those that nothing refers to, and scans."""
