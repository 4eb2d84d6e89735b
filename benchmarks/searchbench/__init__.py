"""What `benchmarks/search.py` compares searchers on: spaces whose trainings are looked up in a table."""
