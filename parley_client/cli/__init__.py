"""The `parley` command: accounts, messages, groups, a live chat and the demo in a terminal."""
