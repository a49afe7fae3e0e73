"""The backdoor scan on networks of many kinds: `networks` trains them, `evaluate` scans them and prints the tables."""
