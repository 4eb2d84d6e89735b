"""Learning from feedback: what a policy would have earned, learning one from logs or in a world, and the gate."""
