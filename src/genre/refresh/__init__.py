"""The next run from new events: what it continues, what it is compared with, and what it is published by."""
