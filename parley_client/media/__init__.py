"""Pictures, videos, sound and files: their facts, and their transfer in parts that resumes after an interruption."""
