"""Backdoors: what a trigger is, how a trojan is trained into a network, and how one is found."""
