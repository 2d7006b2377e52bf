"""The reflection service of a server: it lists the server's own services, or those of a descriptor file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from servicekit import health
from servicekit.config import read_file


@dataclass(frozen=True, slots=True)
class ReflectedServices:
    """The services that reflection lists, by their full names, and the pool with their descriptors."""

    names: Sequence[str]
    pool: DescriptorPool

    def add_to(self, server: grpc.aio.Server) -> None:
        """Add the reflection service to a server; it also lists health and reflection itself."""
        names = (*self.names, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server, self.pool)


def own_services(names: Sequence[str]) -> ReflectedServices:
    """Return services whose stubs this process has imported.

    The pool has their files alone: the process has also imported the services of its internal port.
    """
    pool, imported = DescriptorPool(), descriptor_pool.Default()
    for name in names:
        _add_missing_file(imported.FindServiceByName(name).file, pool)
    _add_standard_files(pool)
    return ReflectedServices(names, pool)


def read_services(path: Path) -> ReflectedServices:
    """Return all services of a FileDescriptorSet, in which each file follows its imports. Raise ConfigurationError.

    With such a file every server lists the services of the deployment, so the answer of the gateway does not depend on
    the server that it routes the call to.
    """
    return read_file(path, _parse_services, "a FileDescriptorSet")


def _parse_services(data: bytes) -> ReflectedServices:
    pool = DescriptorPool()
    try:
        files = FileDescriptorSet.FromString(data).file
        for file in files:
            pool.AddSerializedFile(file.SerializeToString())
        _add_standard_files(pool)
    except (DecodeError, TypeError) as error:
        raise ValueError(str(error)) from None
    return ReflectedServices([f"{file.package}.{each.name}" for file in files for each in file.service], pool)


def _add_standard_files(pool: DescriptorPool) -> None:
    """Add the files of the services that every server has, and of the details of errors.

    With the latter grpcurl shows the details: it asks reflection for their types, which no method names.
    """
    for module in (health_pb2, reflection_pb2, error_details_pb2):
        _add_missing_file(module.DESCRIPTOR, pool)


def _add_missing_file(file: FileDescriptor, pool: DescriptorPool) -> None:
    """Add a file to the pool, after those that it imports, unless the pool has a file of that name."""
    try:
        pool.FindFileByName(file.name)
    except KeyError:
        for dependency in file.dependencies:
            _add_missing_file(dependency, pool)
        pool.AddSerializedFile(file.serialized_pb)
