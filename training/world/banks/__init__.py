"""The words of the world: plain data."""
