"""The presence service: who is online, who was last when, and who may see it; see docs/presence.md."""
