"""`genre search`: trials of the values that a file leaves open, their winner and the report."""
