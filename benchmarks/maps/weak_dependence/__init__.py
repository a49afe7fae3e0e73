"""How much maps depend on the network, ours beside those of methods that need an image."""
