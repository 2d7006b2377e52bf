"""Accounts: profiles, sign-in and sessions of devices, blocks, privacy, and the deletion of accounts."""
