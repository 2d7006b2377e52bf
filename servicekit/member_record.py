"""What a member writes of itself into etcd: JSON under its lease, readable by whoever looks with etcdctl."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from servicekit.ring import RingMember

_STRING_FIELDS = ("server_id", "address", "internal_address")

_log = structlog.get_logger("ring")


@dataclass(frozen=True, slots=True)
class MemberRecord:
    """A member, and the lease its record stands under."""

    member: RingMember
    lease: int

    def to_bytes(self) -> bytes:
        """As it stands in etcd; the lease in hexadecimal, as etcdctl takes it."""
        member = self.member
        return json.dumps(
            {
                "server_id": member.server_id,
                "address": member.address,
                "internal_address": member.internal_address,
                "started_ms": member.started_ms,
                "lease": f"{self.lease:x}",
            }
        ).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> MemberRecord:
        """What `to_bytes` made; fields of later versions are ignored. Raises ValueError for anything else."""
        try:
            fields = json.loads(data)
            server_id, address, internal = (fields[name] for name in _STRING_FIELDS)
            if not all(isinstance(text, str) for text in (server_id, address, internal)):
                raise ValueError("a name or an address is no text")
            member = RingMember(server_id, address, internal, int(fields["started_ms"]))
            return cls(member, int(fields["lease"], 16))
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a member's record: {error!r}") from None


def parse_records(values: Mapping[str, bytes]) -> dict[str, MemberRecord]:
    """The records under a prefix by server id. What is none is left out, and the log says so."""
    records = {}
    for key, value in values.items():
        try:
            record = MemberRecord.from_bytes(value)
        except ValueError as error:
            _log.warning("a record of the ring cannot be read", key=key, why=str(error))
            continue
        records[record.member.server_id] = record
    return records
