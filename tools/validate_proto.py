"""The source of `buf/validate/validate.proto`, generated from the descriptor in the installed protovalidate wheel.

The wheel contains the rules only as a descriptor, but protoc and buf import source. Source generated from the wheel
always agrees with the library that enforces the rules. Field options (the CEL of the rules) are left out, because only
the library needs them.
"""

from collections.abc import Iterable, Iterator

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from protovalidate._gen.buf.validate import validate_pb

PATH = "buf/validate/validate.proto"
_MAX_FIELD_NUMBER = (1 << 29) - 1


def proto_text() -> str:
    """Return the source of `validate.proto`, with the names, numbers and types of the wheel's descriptor."""
    file = FileDescriptorProto.FromString(validate_pb.desc().proto.to_binary())
    return "\n".join(_file(file)) + "\n"


def _file(file: FileDescriptorProto) -> Iterator[str]:
    yield f'syntax = "{file.syntax or "proto2"}";'
    yield ""
    yield "// Written at build time from the installed protovalidate; edits are lost."
    yield f"package {file.package};"
    yield ""
    yield from (f'import "{path}";' for path in file.dependency)
    yield ""
    yield from (f'option {name} = "{value}";' for name, value in _language_options(file))
    yield f"option java_multiple_files = {str(file.options.java_multiple_files).lower()};"
    for extension in file.extension:
        yield from ("", f"extend {extension.extendee} {{", *_indent([_field(extension)]), "}")
    for message in file.message_type:
        yield from ("", *_message(message))
    for enum in file.enum_type:
        yield from ("", *_enum(enum))


def _language_options(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    for name in (
        "java_package",
        "java_outer_classname",
        "go_package",
        "csharp_namespace",
        "objc_class_prefix",
    ):
        if value := getattr(file.options, name):
            yield name, value


def _message(message: DescriptorProto) -> Iterator[str]:
    if message.options.map_entry or message.extension:
        raise NotImplementedError(f"{message.name}: maps and nested extensions are not written")
    yield f"message {message.name} {{"
    for enum in message.enum_type:
        yield from _indent(_enum(enum))
    for nested in message.nested_type:
        yield from _indent(_message(nested))
    yield from _indent(_field(f) for f in message.field if not f.HasField("oneof_index"))
    for index, oneof in enumerate(message.oneof_decl):
        yield from _indent(_oneof(oneof.name, [f for f in message.field if _in_oneof(f, index)]))
    # The end of a range is exclusive in messages, but inclusive in enums.
    extensible = [(r.start, r.end - 1) for r in message.extension_range]
    reserved = [(r.start, r.end - 1) for r in message.reserved_range]
    yield from _indent(_statement("extensions", _ranges(extensible)))
    yield from _indent(_reserved(reserved, message.reserved_name))
    yield "}"


def _in_oneof(field: FieldDescriptorProto, index: int) -> bool:
    return field.HasField("oneof_index") and field.oneof_index == index


def _oneof(name: str, fields: Iterable[FieldDescriptorProto]) -> Iterator[str]:
    yield f"oneof {name} {{"
    yield from _indent(_field(field, label="") for field in fields)
    yield "}"


def _field(field: FieldDescriptorProto, label: str | None = None) -> str:
    if label is None:
        label = FieldDescriptorProto.Label.Name(field.label).removeprefix("LABEL_").lower() + " "
    kind = field.type_name or FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    default = f" [default = {_default(field)}]" if field.HasField("default_value") else ""
    return f"{label}{kind} {field.name} = {field.number}{default};"


def _default(field: FieldDescriptorProto) -> str:
    return f'"{field.default_value}"' if field.type == FieldDescriptorProto.TYPE_STRING else field.default_value


def _enum(enum: EnumDescriptorProto) -> Iterator[str]:
    yield f"enum {enum.name} {{"
    yield from _indent(f"{value.name} = {value.number};" for value in enum.value)
    yield from _indent(_reserved([(r.start, r.end) for r in enum.reserved_range], enum.reserved_name))
    yield "}"


def _reserved(ranges: list[tuple[int, int]], names: Iterable[str]) -> Iterator[str]:
    yield from _statement("reserved", _ranges(ranges))
    yield from _statement("reserved", ", ".join(f'"{name}"' for name in names))


def _statement(keyword: str, value: str) -> Iterator[str]:
    if value:
        yield f"{keyword} {value};"


def _ranges(ranges: Iterable[tuple[int, int]]) -> str:
    return ", ".join(_range(first, last) for first, last in ranges)


def _range(first: int, last: int) -> str:
    if last >= _MAX_FIELD_NUMBER:
        return f"{first} to max"
    return str(first) if first == last else f"{first} to {last}"


def _indent(lines: Iterable[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)
