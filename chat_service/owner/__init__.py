"""The only writer of a conversation: membership, idempotency, seqs, group commit, fan-out and receipts."""
