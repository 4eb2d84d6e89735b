"""Smaller and faster forms of a trained model: how they are made, read, timed and chosen."""
