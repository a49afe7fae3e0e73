"""Commands that print the figures of README and docs, with the hardware."""
