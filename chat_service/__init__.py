"""The chat servers: streams, ordering, fan-out, receipts, history, groups and accounts."""
