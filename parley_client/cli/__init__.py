"""The command `parley`: accounts, messages, groups, a live chat and the demo, from a terminal."""
