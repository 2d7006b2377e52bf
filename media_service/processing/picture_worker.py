"""The program of a worker process, which decodes files that are not trusted: `python -m …picture_worker <limits>`.

It has an address space, no files, no secrets, and a low priority; it speaks `worker_protocol.py` on its standard input
and output, and ends with its input, or with the service. The whole file is in memory in this process alone.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import signal
import sys
from typing import BinaryIO, Final

from media_service.processing.decoding import DecodingLimits, configure_decoders
from media_service.processing.detection import SOUND_TYPES
from media_service.processing.facts import NotDecodable, PictureFacts
from media_service.processing.pictures import read_picture
from media_service.processing.sounds import read_duration
from media_service.processing.worker_protocol import (
    LENGTH,
    READY,
    decode_length,
    decode_object,
    encode_facts,
    encode_object,
    encode_refusal,
)

_NICENESS: Final = 10
_OPEN_FILES: Final = 64
_SKIP_BYTES: Final = 64 << 10
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38


def main(service: int, memory_bytes: int, max_pixels: int) -> None:
    """Answer the requests of the process `service` (0: of any process) until the input ends."""
    # Some event loops let a child inherit descriptors.
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    _die_with(service)
    _restrict(memory_bytes)
    requests, answers = _take_streams()
    configure_decoders()
    # What is loaded so far is not searched for garbage after each request.
    gc.freeze()
    answers.write(encode_object(READY))
    answers.flush()
    limits = DecodingLimits(max_pixels=max_pixels, memory_bytes=memory_bytes)
    retire = False
    while not retire and (prefix := requests.read(LENGTH.size)):
        request = decode_object(requests.read(decode_length(prefix)))
        parts, retire = _answer(request["content_type"], request["size_bytes"], requests, limits)
        answers.writelines(parts)
        answers.flush()
        del parts
        gc.collect()


def _die_with(service: int) -> None:
    """Let the kernel kill this process when the thread that started it ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0 or libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if service and os.getppid() != service:
        sys.exit("the service has ended")


def _restrict(memory_bytes: int) -> None:
    os.nice(_NICENESS)
    for limit, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
    ):
        resource.setrlimit(limit, (value, value))


def _take_streams() -> tuple[BinaryIO, BinaryIO]:
    """Return input and output. What a library prints goes to standard error and not among the answers."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return sys.stdin.buffer, answers


def _answer(content_type: str, size_bytes: int, requests: BinaryIO, limits: DecodingLimits) -> tuple[list[bytes], bool]:
    """Return the frame of the answer to a request in parts, and True if this process must not take another one."""
    try:
        data = _read_file(requests, size_bytes)
        if len(data) < size_bytes:
            return [], True
        return encode_facts(_read_facts(content_type, data, limits), retire=False), False
    except MemoryError:
        # The memory may be in pieces now.
        return [encode_refusal(NotDecodable("more memory than a worker has"), retire=True)], True
    except Exception as refusal:  # noqa: BLE001  a decoder of a damaged file raises whatever it likes
        return [encode_refusal(refusal, retire=False)], False


def _read_file(requests: BinaryIO, size_bytes: int) -> bytes:
    """Return the file; fewer bytes if the input ends. Raise MemoryError once the input is behind the file."""
    try:
        return requests.read(size_bytes)
    except MemoryError:
        # The memory is allocated before anything is read. The service sends the file to its end in any case.
        while size_bytes and (skipped := requests.read(min(size_bytes, _SKIP_BYTES))):
            size_bytes -= len(skipped)
        raise


def _read_facts(content_type: str, data: bytes, limits: DecodingLimits) -> PictureFacts:
    if content_type in SOUND_TYPES:
        return PictureFacts(duration_s=read_duration(content_type, data))
    return read_picture(content_type, data, limits)


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
