"""The domain of media: files, their states and facts, and the ports to the stores."""
