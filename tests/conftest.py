"""What every test has: the servers of tests/stack.py."""

pytest_plugins = ["tests.stack"]
