"""The domain of presence: streams of devices, leases of chat servers, visibility, and the ports to the stores."""
