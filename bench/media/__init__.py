"""The load of the media workloads: files that go up and down by each way, and pictures."""
