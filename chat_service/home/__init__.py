"""Where all devices of a user meet: who is connected, at which edge."""
