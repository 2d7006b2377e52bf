"""The report to presence_service."""
