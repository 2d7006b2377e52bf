"""The pace of calls that are no streams: each device has its own."""

from __future__ import annotations

from chat_service.errors import RateLimited
from chat_service.stream.admission import Admit
from chat_service.stream.rates import DeviceRates
from servicekit.auth import Claims


def rate_limited(admit: Admit, rates: DeviceRates) -> Admit:
    """As `admit`, at the pace that a device may keep; raises RateLimited where it calls faster."""

    async def admit_in_time(claims: Claims) -> None:
        if (wait := rates.bucket_of(claims.device_id).take()) > 0:
            raise RateLimited("this device calls faster than it may", retry_after=wait)
        await admit(claims)

    return admit_in_time
