"""Locum: highly available background services in Python. One instance works, the others stand by.

The names are loaded when they are used: `import locum` imports nothing else.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from locum.coordination.assignment import shard_of
    from locum.coordination.coordinator import Coordinator
    from locum.coordination.partitions import int64_range, named, singleton
    from locum.coordination.shard import Shard
    from locum.coordination.term import Term
    from locum.errors import LocumError, StaleTermError, TermEndedError
    from locum.host.configuration import Options
    from locum.host.host import Host
    from locum.host.restart import Restart
    from locum.jobs.misfires import Misfire
    from locum.jobs.overlap import Overlap
    from locum.jobs.retry import Retry
    from locum.jobs.run import Run
    from locum.service import Stopping
    from locum.services.active_passive import ActivePassiveService, Standby
    from locum.services.asgi import AsgiListener
    from locum.services.background import BackgroundService
    from locum.services.consumer import ConsumerService
    from locum.services.dataflow import Batch, DataflowService
    from locum.services.listeners import Listening
    from locum.services.periodic import PeriodicService
    from locum.services.sharded import ShardedService
    from locum.services.stateful import StatefulService
    from locum.services.stateless import StatelessService
    from locum.services.work_queue import WorkQueue
    from locum.state.role import Role
    from locum.telemetry import (
        InstanceJoined,
        InstanceLost,
        ServiceFailed,
        StoreLost,
        StoreRestored,
        TermEnded,
        TermStarted,
    )

__all__ = [
    "ActivePassiveService",
    "AsgiListener",
    "BackgroundService",
    "Batch",
    "ConsumerService",
    "Coordinator",
    "DataflowService",
    "Host",
    "InstanceJoined",
    "InstanceLost",
    "Listening",
    "LocumError",
    "Misfire",
    "Options",
    "Overlap",
    "PeriodicService",
    "Restart",
    "Retry",
    "Role",
    "Run",
    "ServiceFailed",
    "Shard",
    "ShardedService",
    "StaleTermError",
    "Standby",
    "StatefulService",
    "StatelessService",
    "Stopping",
    "StoreLost",
    "StoreRestored",
    "Term",
    "TermEnded",
    "TermEndedError",
    "TermStarted",
    "WorkQueue",
    "int64_range",
    "named",
    "shard_of",
    "singleton",
]

_ROOMS: Final = {
    "ActivePassiveService": "services.active_passive",
    "BackgroundService": "services.background",
    "AsgiListener": "services.asgi",
    "Batch": "services.dataflow",
    "ConsumerService": "services.consumer",
    "Coordinator": "coordination.coordinator",
    "DataflowService": "services.dataflow",
    "Host": "host.host",
    "InstanceJoined": "telemetry",
    "InstanceLost": "telemetry",
    "Listening": "services.listeners",
    "LocumError": "errors",
    "Misfire": "jobs.misfires",
    "Options": "host.configuration",
    "Overlap": "jobs.overlap",
    "PeriodicService": "services.periodic",
    "Restart": "host.restart",
    "Retry": "jobs.retry",
    "Role": "state.role",
    "Run": "jobs.run",
    "ServiceFailed": "telemetry",
    "Shard": "coordination.shard",
    "ShardedService": "services.sharded",
    "StaleTermError": "errors",
    "Standby": "services.active_passive",
    "StatefulService": "services.stateful",
    "StatelessService": "services.stateless",
    "Stopping": "service",
    "StoreLost": "telemetry",
    "StoreRestored": "telemetry",
    "Term": "coordination.term",
    "TermEnded": "telemetry",
    "TermEndedError": "errors",
    "TermStarted": "telemetry",
    "WorkQueue": "services.work_queue",
    "int64_range": "coordination.partitions",
    "named": "coordination.partitions",
    "shard_of": "coordination.assignment",
    "singleton": "coordination.partitions",
}


def __getattr__(name: str) -> object:
    if name not in _ROOMS:
        raise AttributeError(f"module 'locum' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"locum.{_ROOMS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
