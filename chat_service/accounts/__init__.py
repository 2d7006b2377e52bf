"""Who there is: accounts, their profiles, their devices, and how a device signs in and stays signed in."""
