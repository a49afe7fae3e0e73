"""Benchmarks of the scan: networks with and without a planted backdoor, and what the scan says about them."""
