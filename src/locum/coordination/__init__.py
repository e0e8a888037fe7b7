"""The recipes: who waits, who holds, and how a hold ends. They know stores by their contract alone."""
