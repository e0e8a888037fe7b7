"""A client over HTTP of a service in which one instance is active: it finds that one, also after it has moved.

Promises: an answer that is given out says the token of the term that gave it, and no higher token of the service was
known here when it came; nobody is asked for a term once a later one was seen; a request is sent again only if
nothing was done by it, or if doing it twice is the same as once; and it ends by its deadline.
Assumes: who answers says by its headers in which term (`locum.integrations.active.ActiveOnly`), and publishes its
address under that term (`Naming.publish`).
On loss: while nobody is active, or the store does not answer, a request waits, and is made as soon as there is one.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from locum.coordination.naming import Naming, active_of
from locum.coordination.partitions import partitioning_of
from locum.errors import ConfigurationError, NotActiveError, StoreError, UnansweredError
from locum.names import check_name
from locum.scopes import Backoff, Scope, cancel_and_wait, happens, told_by_result
from locum.telemetry import logger

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    import httpx2

    from locum.coordination.commons import Commons
    from locum.coordination.naming import Endpoint
    from locum.coordination.partitions import Key, Partitioning

_log = logger("coordination.client")

__all__ = ["ACTIVE", "ENDED", "NO", "NOT_READY", "TOKEN", "ServiceClient"]

TOKEN: Final = "Locum-Token"  # noqa: S105 - a header
"""The header that says in which term a request is to be answered, and in which it was."""

ACTIVE: Final = "Locum-Active"
"""The header of an answer by which nobody is served."""

NO: Final = "no"
"""Its value where that instance is not active in that term: nothing was done."""

ENDED: Final = "ended"
"""Its value where the term ended while the request was at work: it may have been done."""

NOT_READY: Final = "not-ready"
"""Its value where that instance is about to serve, and is to be asked again: nothing was done."""

_TWICE_AS_ONCE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})  # RFC 9110, 9.2.2


@dataclass(frozen=True, slots=True)
class _Failure:
    """A try that brought no answer that counts.

    Attributes:
        why: What became of it.
        done: Whether it may have been done all the same.
    """

    why: str
    done: bool


@dataclass(slots=True)
class _Known:
    """What is known of the active one of a service, or of one of its partitions.

    Attributes:
        highest: The highest token that was seen.
        endpoint: Where it is; `None` while it is nowhere.
    """

    highest: int = 0
    endpoint: Endpoint | None = None

    def learn(self, endpoint: Endpoint | None) -> int:
        """Take what is published now; the highest token."""
        token = 0 if endpoint is None or endpoint.token is None else endpoint.token
        # one with a lower token is left over from a term that is over, be it shown again or not
        self.endpoint = endpoint if token >= self.highest else None
        self.highest = max(self.highest, token)
        return self.highest


class ServiceClient:
    """Asks the active instance of a service; as a context it watches where that is.

    Args:
        commons: Whose store tells.
        service: The name of the service.
        timeout: Seconds that a request may take, with all that it waits and is repeated.
        listener: Which of its listeners, if it has several.
        settings: Whatever else `httpx2.AsyncClient` takes: headers, certificates, limits.
    """

    def __init__(
        self, commons: Commons, service: str, *, timeout: float = 10.0, listener: str = "", **settings: Any
    ) -> None:
        self.service, self.timeout = check_name(service, what="the name of a service"), timeout
        self._commons, self._listener, self._settings = commons, listener, settings
        self._scope = Scope(f"client of {service}", on_error=told_by_result)
        self._known: defaultdict[str, _Known] = defaultdict(_Known, {"": _Known()})
        self._partitioning: Partitioning | None = None
        self._news = asyncio.Event()
        self._http: httpx2.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        try:
            import httpx2
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                "to ask a service over HTTP, httpx2 is needed: pip install 'locum[http]'"
            ) from error
        settings: dict[str, Any] = {"timeout": None, **self._settings}  # the deadline is ours
        self._http = httpx2.AsyncClient(**settings)
        self._scope.spawn(self._watch(), name="endpoints")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._scope.close()
        if self._http is not None:
            await self._http.aclose()

    async def get(self, path: str, **content: Any) -> httpx2.Response:
        """`request` by GET."""
        return await self.request("GET", path, **content)

    async def put(self, path: str, **content: Any) -> httpx2.Response:
        """`request` by PUT."""
        return await self.request("PUT", path, **content)

    async def post(self, path: str, **content: Any) -> httpx2.Response:
        """`request` by POST, which is not repeated where it may have been done."""
        return await self.request("POST", path, **content)

    async def delete(self, path: str, **content: Any) -> httpx2.Response:
        """`request` by DELETE."""
        return await self.request("DELETE", path, **content)

    async def request(
        self,
        method: str,
        path: str,
        *,
        key: Key | None = None,
        timeout: float | None = None,
        repeatable: bool | None = None,
        **content: Any,
    ) -> httpx2.Response:
        """Ask whoever is active, and whoever is active next if that one is gone; the answer is read whole.

        Args:
            method: As HTTP names it.
            path: Below the address that is published.
            key: Of a service that is divided, what belongs to the partition that is asked: see
                `locum.coordination.partitions.Partitioning.partition`.
            timeout: Seconds that it may take, if it is another one than the client's.
            repeatable: Whether doing it twice is the same as doing it once; by its method if that is not said.
            content: What `httpx2.AsyncClient.request` takes: params, headers, json, content. No stream: it is to be
                sent again.

        Raises:
            ConfigurationError: No partition is meant by the key.
            NotActiveError: Nobody who is active has answered in time.
            UnansweredError: It must not be repeated, and may have been done.
        """
        within = self.timeout if timeout is None else timeout
        again = method.upper() in _TWICE_AS_ONCE if repeatable is None else repeatable
        last, pause = _Failure("none has published its address", done=False), Backoff(0.02, 0.5)
        limit = asyncio.timeout(within)
        try:
            async with limit:
                known = await self._meant(key)
                while True:
                    endpoint = await self._active(known)
                    last = _Failure(f"{endpoint.address} has not answered", done=True)
                    outcome = await self._ask(known, endpoint, method, path, content)
                    if not isinstance(outcome, _Failure):
                        return outcome
                    last = outcome
                    if last.done and not again:
                        raise UnansweredError(self.service, f"{method} {endpoint.address}", last.why)
                    await self._news_or(known, endpoint, pause.delay())
        except TimeoutError:
            if not limit.expired():
                raise
        if last.done and not again:
            raise UnansweredError(self.service, f"{method} {path}", last.why)
        raise NotActiveError(self.service, within, last.why)

    # -- where it is

    async def _watch(self) -> None:
        async for endpoints in Naming(self._commons).watch_list(self.service):
            named = [one for one in endpoints if one.listener == self._listener]
            if self._partitioning is None and any(one.partition for one in named):
                await self._learn_partitions()
            for name in {*self._known, *(one.partition for one in named)}:
                active = active_of(one for one in named if one.partition == name)
                self._commons.remember(self._known[name].learn(active))
            self._news.set()
            self._news = asyncio.Event()

    async def _learn_partitions(self) -> None:
        """Read how the service is divided; what cannot be read now is read with the next change."""
        try:
            self._partitioning = await partitioning_of(self._commons.store, self.service)
        except StoreError as error:
            _log.debug("it is not known how %s is divided: %s", self.service, error)

    async def _meant(self, key: Key | None) -> _Known:
        """Who is meant by a key, once it is known how the service is divided; without one, whoever is active in it."""
        while self._partitioning is None:
            if key is None and self._known[""].endpoint is not None:
                return self._known[""]
            await self._news.wait()
        return self._known[self._partitioning.partition(key).name]

    async def _active(self, known: _Known) -> Endpoint:
        while (endpoint := known.endpoint) is None:
            await self._news.wait()
        return endpoint

    async def _news_or(self, known: _Known, endpoint: Endpoint, pause: float) -> None:
        """Wait until something else than this endpoint is known, or it is time to try it again."""
        await happens(self._other(known, endpoint), within=pause)

    async def _other(self, known: _Known, endpoint: Endpoint) -> None:
        while known.endpoint == endpoint:
            await self._news.wait()

    async def _overtaken(self, known: _Known, token: int) -> None:
        """Wait until a higher token was seen."""
        while known.highest <= token:
            await self._news.wait()

    # -- asking

    async def _ask(
        self, known: _Known, endpoint: Endpoint, method: str, path: str, content: dict[str, Any]
    ) -> httpx2.Response | _Failure:
        """Ask one endpoint, as long as nobody is known to have followed it."""
        import httpx2

        if self._http is None:
            raise RuntimeError("a ServiceClient is used as a context: async with coordinator.client(...) as client")
        token = endpoint.token or 0
        url = f"{endpoint.address.rstrip('/')}/{path.lstrip('/')}"
        headers = httpx2.Headers(content.get("headers"))
        headers[TOKEN] = str(token)
        whole: dict[str, Any] = {**content, "headers": headers}
        request = self._http.build_request(method, url, **whole)
        asking = self._scope.spawn(self._http.send(request), name=f"{method} {url}")
        overtaken = self._scope.spawn(self._overtaken(known, token), name="who follows")
        try:
            await asyncio.wait([asking, overtaken], return_when=asyncio.FIRST_COMPLETED)
        finally:
            overtaken.cancel()
            await cancel_and_wait(asking)
        if asking.cancelled():
            return _Failure(f"{endpoint.address} was followed by another one before it answered", done=True)
        error = asking.exception()
        if isinstance(error, (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)):
            return _Failure(f"{endpoint.address} cannot be reached ({error})", done=False)
        if isinstance(error, httpx2.TransportError):
            return _Failure(f"{endpoint.address} has not answered ({type(error).__name__}: {error})", done=True)
        return self._judged(known, endpoint, asking.result())

    def _judged(self, known: _Known, endpoint: Endpoint, response: httpx2.Response) -> httpx2.Response | _Failure:
        """An answer, if it is one of the term that was asked, and of no earlier one than is known by now."""
        said = response.headers.get(ACTIVE)
        if said == NOT_READY:
            return _Failure(f"{endpoint.address} is not ready yet", done=False)
        if said == NO:
            return _Failure(f"{endpoint.address} says that it is not active in the term {endpoint.token}", done=False)
        if said is not None:
            return _Failure(f"the term {endpoint.token} of {endpoint.address} ended while it was at work", done=True)
        if response.headers.get(TOKEN) != str(endpoint.token):
            return _Failure(
                f"{endpoint.address} answered {response.status_code} and not in the term {endpoint.token}: is it behind"
                " locum.integrations.active.ActiveOnly?",
                done=True,
            )
        if (endpoint.token or 0) < known.highest:
            return _Failure(f"{endpoint.address} was followed by another one while it answered", done=True)
        return response
