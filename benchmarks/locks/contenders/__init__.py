"""One module a contender: each takes and gives back a lock as its library's documentation shows it."""
