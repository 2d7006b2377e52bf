"""The connection of the commands for operators to the servers of a deployment, which are registered in etcd."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from notify_service.settings import OperatorSettings
from servicekit.auth import ServiceCredential
from servicekit.client import ServiceChannel
from servicekit.etcd import Etcd, EtcdUnreachable
from servicekit.ring_watcher import members_prefix

# How long a command looks for a server, and how long it then waits for the answer.
LOOKUP_TIMEOUT_S: Final = 5.0
CALL_TIMEOUT_S: Final = 20.0
# A command says within this time what it waits for.
NOTICE_DELAY_S: Final = 1.0
_RETRY_INTERVAL_S: Final = 0.5

S = TypeVar("S")


class NoServerFound(Exception):
    """etcd does not answer, or no server is registered there; the message is a sentence for the operator."""


@asynccontextmanager
async def open_stub(settings: OperatorSettings, service: str, make: Callable[[Any], S]) -> AsyncIterator[S]:
    """Yield a stub of an internal service; `make` is its class. Raise NoServerFound within LOOKUP_TIMEOUT_S.

    What takes longer than NOTICE_DELAY_S is named on stderr.
    """
    credential = ServiceCredential.from_file(settings.service_credential_file)
    place = f"etcd at {', '.join(settings.etcd_endpoints)}"
    async with Etcd(settings.etcd_endpoints) as etcd:
        await _find_servers(etcd, service, place)
        channel = ServiceChannel(service, etcd, credential)
        watching = asyncio.create_task(channel.run())
        noticing = asyncio.create_task(_notice(f"Waiting up to {CALL_TIMEOUT_S:.0f} s for a {service} server …"))
        try:
            yield channel.stub(make)
        finally:
            for task in (watching, noticing):
                task.cancel()
            await asyncio.wait([watching, noticing])
            await channel.close()


async def _find_servers(etcd: Etcd, service: str, place: str) -> None:
    """Wait until a server is registered in etcd. Raise NoServerFound after LOOKUP_TIMEOUT_S."""
    noticing = asyncio.create_task(_notice(f"Looking for a {service} server in {place} …"))
    problem = f"{place} does not answer"
    try:
        async with asyncio.timeout(LOOKUP_TIMEOUT_S):
            while True:
                try:
                    if (await etcd.list_prefix(members_prefix(service))).values:
                        return
                    problem = f"No {service} server is registered in {place}"
                except EtcdUnreachable:
                    problem = f"{place} does not answer"
                await asyncio.sleep(_RETRY_INTERVAL_S)
    except TimeoutError:
        raise NoServerFound(f"{problem}. PARLEY_ETCD_ENDPOINTS names its address, which `make run` prints.") from None
    finally:
        noticing.cancel()


async def _notice(text: str) -> None:
    await asyncio.sleep(NOTICE_DELAY_S)
    print(text, file=sys.stderr, flush=True)
