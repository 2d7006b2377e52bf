"""The record of a member in etcd: JSON attached to the member's lease, readable with etcdctl."""

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
    """A member, and the id of the lease that its record is attached to.

    A member that is `leaving` has drained and is about to revoke the lease.
    """

    member: RingMember
    lease: int
    leaving: bool = False

    def to_bytes(self) -> bytes:
        """Return the record as JSON; the lease id is hexadecimal, the form that etcdctl expects."""
        member = self.member
        fields: dict[str, object] = {
            "server_id": member.server_id,
            "address": member.address,
            "internal_address": member.internal_address,
            "started_ms": member.started_ms,
            "lease": f"{self.lease:x}",
        }
        return json.dumps({**fields, "leaving": True} if self.leaving else fields).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> MemberRecord:
        """Parse the JSON of `to_bytes`; unknown fields are ignored. Raise ValueError if it is not a record."""
        try:
            fields = json.loads(data)
            server_id, address, internal = (fields[name] for name in _STRING_FIELDS)
            if not all(isinstance(text, str) for text in (server_id, address, internal)):
                raise ValueError("server_id, address and internal_address must be strings")
            member = RingMember(server_id, address, internal, int(fields["started_ms"]))
            return cls(member, int(fields["lease"], 16), fields.get("leaving") is True)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a member's record: {error!r}") from None


def parse_records(values: Mapping[str, bytes]) -> dict[str, MemberRecord]:
    """Return the records of a snapshot by server id. A value that is not a record is logged and left out."""
    records = {}
    for key, value in values.items():
        try:
            record = MemberRecord.from_bytes(value)
        except ValueError as error:
            _log.warning("member record unreadable", key=key, error=str(error))
            continue
        records[record.member.server_id] = record
    return records
