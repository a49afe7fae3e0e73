"""The embedded world: drawn pictures with exact ground truth, networks trained on them, and their cards."""
