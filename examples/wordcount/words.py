"""How often each word was said: counters in four partitions, each behind an HTTP listener of its primary.

POST /words/WORD?id=ID counts a word once for each id, however often it is sent; GET /words/WORD says its count.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs

from locum import AsgiListener, Host, StatefulService, int64_range


class WordCount(StatefulService):
    """One replica of one partition."""

    partitions = int64_range(4)
    replicas = 3
    join_delay = 0.2

    def listeners(self) -> Iterable[AsgiListener]:
        """Where the primary is reached."""
        yield AsgiListener(self.answer)

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request; what cannot be committed, the listener tells the caller."""
        del receive
        word = scope["path"].rpartition("/")[2]
        asked = parse_qs(scope["query_string"].decode())
        count = await (self.add(word, asked["id"][0]) if scope["method"] == "POST" else self.count(word))
        body = json.dumps({"count": count, "partition": self.partition.name, "pid": os.getpid()}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def add(self, word: str, request: str) -> int:
        """Count a word, once for each request."""
        counts = self.state.dictionary("counts")
        async with self.state.transaction(key=request) as tx:
            if not tx.is_repeated:
                tx.result = await counts.get(tx, word, default=0) + 1
                await counts.set(tx, word, tx.result)
        return int(tx.result)

    async def count(self, word: str) -> int:
        """How often it was said, with all that was acknowledged before."""
        counts = self.state.dictionary("counts")
        async with self.state.transaction() as tx:
            return int(await counts.get(tx, word, default=0))


host = Host("wordcount")
host.add(WordCount)

if __name__ == "__main__":
    host.run()
