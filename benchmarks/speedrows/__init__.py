"""Rows of the speed benchmark beside those of the training loop, and how rows are measured and told."""
