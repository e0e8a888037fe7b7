"""The store on a ZooKeeper ensemble: only writes decide, and the ensemble itself times the sessions.

One asynchronous connection for records, one for wake-ups, and one for each session that this process has opened, which
is a ZooKeeper session of its own. kazoo gives the messages; connections and deadlines are ours.
"""

from locum.stores.zookeeper.store import ZooKeeperStore, make_store

__all__ = ["ZooKeeperStore", "make_store"]
