"""One module a contender: a crowd of registrations, and somebody who watches while one more joins and leaves."""
