"""The embedded world: drawn images with exact ground truth, networks trained on them, and their cards."""
