"""The store in a relational database: PostgreSQL, 13 or newer.

What is written and read is SQLAlchemy Core, in steps that every dialect can say; in PostgreSQL the steps of a call are
folded into one statement that commits by itself: whoever freezes in the middle of a call holds no lock.
"""

from locum.stores.sql.store import PostgresStore, make_store

__all__ = ["PostgresStore", "make_store"]
