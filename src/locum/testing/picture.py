"""How a cluster stands, in lines for whoever has to find out why a test waited in vain."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from locum.testing.instance import Instance
    from locum.views.status import Service, Status

__all__ = ["lines_of_instances", "lines_of_status"]

_TAIL = 30  # lines of an instance's output


def lines_of_status(status: Status) -> list[str]:
    """What the store says."""
    lines = [f"the store {status.store} says of {status.namespace}:"]
    lines += [f"  {one.name}: {_service(one)}" for one in status.services] or ["  no service has been seen"]
    for one in status.instances:
        parts = ", ".join(f"{part.service} {part.mode or 'waits'}" for part in one.parts)
        lines.append(f"  {one.name} (keeper {one.keeper}, worker {one.worker}): {parts or 'nothing yet'}")
    return [*lines, *([] if status.instances else ["  no instance has a session"])]


def lines_of_instances(instances: Iterable[Instance], *, whole: bool = False) -> list[str]:
    """What the instances have said: the ends of it, or all."""
    lines = []
    for one in instances:
        said = one.output.splitlines()
        left_out = 0 if whole else max(0, len(said) - _TAIL)
        lines.append(f"{one.name} {one.state}, and has said:")
        lines += [f"  ... ({left_out} lines before)"] if left_out else []
        lines += [f"  {line}" for line in said[left_out:]] or ["  nothing"]
    return lines


def _service(service: Service) -> str:
    if not service.exclusive:
        return f"runs on {service.running}"
    if service.active is None:
        who = f"nobody is active (was {service.previous}: {service.why})" if service.previous else "nobody is active"
    else:
        who = f"{service.active} is {service.mode or 'about to be active'} (token {service.token})"
    return f"{who}; in line: {', '.join(service.waiting) or 'nobody'}"
