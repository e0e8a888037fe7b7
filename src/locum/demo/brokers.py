"""Where the outbox is relayed to: Redis, NATS or AMQP, each loaded when its URL asks for it.

All three keep what they are given until the audit has read it, and answer when they have it: a stream of Redis, a
stream of NATS JetStream, a durable queue with publisher confirms.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from locum.errors import ConfigurationError
from locum.registry import without_secrets

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Broker", "Message", "NoBroker", "broker_for"]

_TIMEOUT: Final = 5.0  # s


@dataclass(frozen=True, slots=True)
class Message:
    """One order, on its way out.

    Attributes:
        row: Its number in the outbox, by which a receiver can tell what it has had already.
        order: The number of the order.
        token: Under which token it was sent.
    """

    row: int
    order: int
    token: int

    def to_bytes(self) -> bytes:
        """As it is sent."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def of(cls, data: bytes) -> Message:
        """As it was received."""
        return cls(**json.loads(data))


class Broker(ABC):
    """A connection to a broker.

    Args:
        url: Where it is.
        name: Of the stream or queue.
    """

    def __init__(self, url: str, name: str) -> None:
        self._url, self._name = url, name

    @abstractmethod
    async def open(self) -> None:
        """Connect, and make the stream or queue if it is not there."""

    @abstractmethod
    async def publish(self, messages: Sequence[Message]) -> None:
        """Hand messages over; returns when the broker has all of them. An error says nothing about which it has."""

    @abstractmethod
    async def all_messages(self) -> list[Message]:
        """Everything that the broker was given."""

    @abstractmethod
    async def clear(self) -> None:
        """Take the stream or queue away."""

    @abstractmethod
    async def close(self) -> None:
        """Part from the broker."""


class NoBroker(Broker):
    """No broker: what is published stands in the orders database alone."""

    def __init__(self) -> None:
        super().__init__("", "")

    async def open(self) -> None:
        """Nothing."""

    async def publish(self, messages: Sequence[Message]) -> None:
        """Nothing."""

    async def all_messages(self) -> list[Message]:
        """None."""
        return []

    async def clear(self) -> None:
        """Nothing."""

    async def close(self) -> None:
        """Nothing."""


class RedisBroker(Broker):
    """A stream of Redis; as lasting as that server is set up to be."""

    async def open(self) -> None:
        """Connect."""
        from redis.asyncio import Redis

        self._redis: Any = Redis.from_url(self._url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT)
        await self._redis.ping()

    async def publish(self, messages: Sequence[Message]) -> None:
        """Add them, in one trip."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for message in messages:
                pipeline.xadd(self._name, {"message": message.to_bytes()})
            await pipeline.execute()

    async def all_messages(self) -> list[Message]:
        """All entries of the stream."""
        return [Message.of(fields[b"message"]) for _, fields in await self._redis.xrange(self._name)]

    async def clear(self) -> None:
        """Delete the stream."""
        await self._redis.delete(self._name)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()


class NatsBroker(Broker):
    """A stream of NATS JetStream; each message is acknowledged by the server."""

    async def open(self) -> None:
        """Connect, and make the stream."""
        import nats

        self._connection: Any = await nats.connect(self._url, connect_timeout=_TIMEOUT, max_reconnect_attempts=-1)
        self._stream: Any = self._connection.jetstream(timeout=_TIMEOUT)
        await self._stream.add_stream(name=self._name, subjects=[self._name])

    async def publish(self, messages: Sequence[Message]) -> None:
        """Publish each, and wait for its acknowledgement."""
        for message in messages:
            await self._stream.publish(self._name, message.to_bytes())

    async def all_messages(self) -> list[Message]:
        """All messages of the stream."""
        state = (await self._stream.stream_info(self._name)).state
        numbers = range(state.first_seq, state.last_seq + 1) if state.messages else ()
        return [Message.of((await self._stream.get_msg(self._name, number)).data) for number in numbers]

    async def clear(self) -> None:
        """Delete the stream."""
        await self._stream.delete_stream(self._name)

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()


class AmqpBroker(Broker):
    """A durable queue of an AMQP 0-9-1 broker (RabbitMQ, LavinMQ), with publisher confirms."""

    async def open(self) -> None:
        """Connect, and make the queue."""
        import aio_pika

        self._connection: Any = await aio_pika.connect_robust(self._url, timeout=_TIMEOUT)
        self._channel: Any = await self._connection.channel(publisher_confirms=True)
        self._queue: Any = await self._channel.declare_queue(self._name, durable=True)

    async def publish(self, messages: Sequence[Message]) -> None:
        """Publish each, and wait for its confirmation."""
        import aio_pika

        for message in messages:
            sent = aio_pika.Message(message.to_bytes(), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await self._channel.default_exchange.publish(sent, routing_key=self._name, timeout=_TIMEOUT)

    async def all_messages(self) -> list[Message]:
        """All messages of the queue, which go back to their places."""
        found: list[Any] = []
        while (message := await self._queue.get(fail=False, timeout=_TIMEOUT)) is not None:
            found.append(message)
        if found:
            await found[-1].nack(multiple=True, requeue=True)
        return [Message.of(message.body) for message in found]

    async def clear(self) -> None:
        """Delete the queue."""
        await self._queue.delete(if_unused=False, if_empty=False)

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()


# scheme -> its class, the package that it needs, and the extra that brings it
_KINDS: Final[dict[str, tuple[type[Broker], str, str]]] = {
    "redis": (RedisBroker, "redis", "redis"),
    "rediss": (RedisBroker, "redis", "redis"),
    "nats": (NatsBroker, "nats", "nats"),
    "tls": (NatsBroker, "nats", "nats"),
    "amqp": (AmqpBroker, "aio_pika", "amqp"),
    "amqps": (AmqpBroker, "aio_pika", "amqp"),
}


def broker_for(url: str, name: str) -> Broker:
    """The broker of a URL, not yet opened; none if the URL is empty.

    Raises:
        ConfigurationError: It is of no known kind, or a package is missing.
    """
    if not url:
        return NoBroker()
    scheme = urlsplit(url).scheme
    if scheme not in _KINDS:
        raise ConfigurationError(
            f"no broker is known for {without_secrets(url)!r}: write redis://, nats:// or amqp:// and its address"
        )
    kind, package, extra = _KINDS[scheme]
    try:
        import_module(package)
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"a broker by {scheme}:// needs {package!r}: pip install 'locum[{extra}]'") from error
    return kind(url, name)
