"""Commands that print the figures of README and docs, with the hardware."""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "20000")  # as the command line does, before torch is loaded
