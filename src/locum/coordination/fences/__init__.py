"""The fences of the databases that are known, a room for each; none is loaded before it is needed."""
