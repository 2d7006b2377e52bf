"""The facts about proto services that Envoy's routes and reflection depend on."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType

from google.protobuf.descriptor import FileDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet


def services_in(*files: ModuleType) -> tuple[ServiceDescriptor, ...]:
    """Return the services of proto files, given as their generated modules."""
    return tuple(service for file in files for service in file.DESCRIPTOR.services_by_name.values())


def packages_of(services: Iterable[ServiceDescriptor]) -> list[str]:
    """Return the proto packages of services, each once, in their order."""
    return list(dict.fromkeys(service.file.package for service in services))


def streaming_paths(services: Iterable[ServiceDescriptor]) -> list[str]:
    """Return the paths of the methods that stream in at least one direction."""
    methods = (method for service in services for method in service.methods)
    return [method_path(method) for method in methods if method.client_streaming or method.server_streaming]


def descriptor_set(services: Iterable[ServiceDescriptor]) -> FileDescriptorSet:
    """Return the proto files of services and all that they import, each once, after those that it imports.

    Services of the files that are not among `services` are left out: their messages may be needed, but not they.
    """
    files: dict[str, FileDescriptorProto] = {}
    named = set()
    for service in services:
        named.add(service.full_name)
        _add_file(service.file, files)
    for file in files.values():
        kept = [each for each in file.service if f"{file.package}.{each.name}" in named]
        del file.service[:]
        file.service.extend(kept)
    return FileDescriptorSet(file=files.values())


def _add_file(file: FileDescriptor, files: dict[str, FileDescriptorProto]) -> None:
    for dependency in file.dependencies:
        if dependency.name not in files:
            _add_file(dependency, files)
    files[file.name] = FileDescriptorProto.FromString(file.serialized_pb)


def method_path(method: MethodDescriptor) -> str:
    """Return the path of a method in HTTP/2, `/package.Service/Method`."""
    return f"/{method.containing_service.full_name}/{method.name}"
