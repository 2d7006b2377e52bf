"""The owner, the only writer of a conversation: membership, idempotency, seqs, group commit, fan-out, receipts."""
