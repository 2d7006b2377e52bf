"""The capacity model: how many servers a number of users needs, which of them limits first, and what it costs."""
