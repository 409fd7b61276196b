"""XOR masking (RFC 6455 section 5.3): payload byte i is XORed with key byte i modulo 4; doing it again undoes it.

Every byte a client sends goes through here, and no loop over single bytes in Python keeps up with a socket. There
are three ways, chosen by size; the constants below say where each begins, and why:

    small    both operands as one big integer: a handful of calls, but 2 ns for each byte
    large    numpy, when it is installed: an expensive call, then memory speed
             without it: four strided translations, one for each byte of the key

For any thread: the functions know nothing but their arguments. The one state is where numpy is (`_uses_numpy`).
"""

from __future__ import annotations

import functools
import importlib
import io
from typing import Any

#: From this size on the integer loses. Microseconds on CPython 3.11 as integer / translated / numpy: 32 bytes 0.3 / 1.2
#: / 1.2; 512 bytes 1.3 / 1.7 / 1.2; 640 bytes 1.5 / 1.9 / 1.2; 1 KiB 2.4 / 2.1 / 1.2; 4 KiB 7.6 / 4.6 / 1.3; 64 KiB
#: 123 / 56 / 4; 1 MiB 3600 / 1300 / 50 (in place 4500 / 1130 / 46).
_LARGE = 512

#: Importing numpy takes about 0.1 s and 15 MB, once. From this size on it saves 3 of the 11 microseconds that a message
#: costs altogether; a program whose messages are all smaller never pays. Once it is here it is used from _LARGE on.
#: A program that wants the import at its start, not at the first large message, masks one of this size then.
_NUMPY = 4096

#: From this size on numpy changes a copy in place: a new array and the copy of that as bytes push each other out of the
#: processor's cache (an echo of 64 KiB takes a fifth longer), and at 1 MiB their page faults cost ten times the XOR.
_LENT = 1 << 15

#: numpy once it was imported, None where that failed, and before anybody tried ... (Ellipsis).
_numpy: Any = ...

#: numpy's type for eight bytes, once it was imported.
_word: Any = None

# Bound once: looked up on the hot path of every message.
_int = int.from_bytes


def mask(data: bytes | bytearray | memoryview, key: bytes, offset: int = 0, *, imports: bool = True) -> bytes:
    """The payload data masked (or unmasked) with the 4 bytes of key, as new bytes.

    offset says how many bytes of the same payload went before data, when it comes in pieces. A memoryview must be
    contiguous, of single bytes. imports=False: numpy is not imported for it. Raises nothing; any number of threads may
    call it, while nobody writes to data.
    """
    if offset:
        offset &= 3
        key = key[offset:] + key[:offset]
    size = len(data)
    if size < _LARGE:
        # Byte order does not matter as long as it is the same three times; the default is the cheapest to say.
        return (_int(data) ^ _int((key * (size // 4 + 1))[:size])).to_bytes(size)
    if _uses_numpy(size if imports else 0):
        return _xor(data, 0, size, key)
    return bytes(_translated(data, key))


def unmask(frame: bytes, start: int, end: int) -> bytes:
    """The payload frame[start:end], whose key stands in the four bytes before it, unmasked.

    The result is that of `mask` with this payload and this key; one copy fewer is made.
    """
    key = frame[start - 4 : start]
    size = end - start
    if size < _LARGE:  # as in mask, written out: every small message comes here
        return (_int(frame[start:end]) ^ _int((key * (size // 4 + 1))[:size])).to_bytes(size)
    if _uses_numpy(size):
        return _xor(frame, start, end, key)
    return mask(frame[start:end], key)


def mask_into(buffer: bytearray | memoryview, start: int, end: int, key: bytes, offset: int = 0) -> None:
    """Mask (or unmask) buffer[start:end] in place with the 4 bytes of key; a memoryview is of single bytes.

    0 <= start <= end <= len(buffer) must hold. offset says how many bytes of the same payload went before start.
    Raises nothing; the rest of buffer is left alone and its size does not change, so views of it stay valid. Nobody
    else may use that part of buffer meanwhile.
    """
    size = end - start
    if size < _LARGE:
        buffer[start:end] = mask(buffer[start:end], key, offset)
        return
    if offset:
        offset &= 3
        key = key[offset:] + key[:offset]
    if _uses_numpy(size):
        _xor_into(buffer, start, end, key)
    else:
        buffer[start:end] = _translated(buffer[start:end], key)


def _xor(data: bytes | bytearray | memoryview, start: int, end: int, key: bytes) -> bytes:
    """data[start:end] masked by numpy, as new bytes."""
    if end - start >= _LENT:
        # BytesIO takes the copy for its own, lends it, and gives it away as bytes: nothing is copied again.
        copy = io.BytesIO(data[start:end])
        _xor_into(copy.getbuffer(), 0, end - start, key)
        return copy.getvalue()
    words, tail = _words(start, end)
    masked: bytes = (_numpy.frombuffer(data, _word, words, start) ^ _numpy.frombuffer(key + key, _word)).tobytes()
    return masked if tail == end else masked + mask(data[tail:end], key)


def _xor_into(buffer: bytearray | memoryview, start: int, end: int, key: bytes) -> None:
    """buffer[start:end] masked by numpy in place; numpy takes words at any address."""
    words, tail = _words(start, end)
    target = _numpy.frombuffer(buffer, _word, words, start)
    target ^= _numpy.frombuffer(key + key, _word)
    if tail < end:
        buffer[tail:end] = mask(buffer[tail:end], key)


def _words(start: int, end: int) -> tuple[int, int]:
    """How many words of eight bytes there are, and where the rest begins: up to seven bytes, which go the small way."""
    words = (end - start) // 8
    return words, start + words * 8


def _translated(data: bytes | bytearray | memoryview, key: bytes) -> bytearray:
    """data masked, every fourth byte at a time: they have the same byte of the key, so bytes.translate does it in C.

    In a bytearray: a memoryview takes every fourth byte ten times as slowly.
    """
    tables = _tables()
    masked = bytearray(data)
    for i in range(4):
        masked[i::4] = masked[i::4].translate(tables[key[i]])
    return masked


@functools.cache
def _tables() -> tuple[bytes, ...]:
    """Table k maps each byte b to b ^ k. 64 KiB, made at the first large payload that numpy is not there for."""
    return tuple(bytes(byte ^ k for byte in range(256)) for k in range(256))


def _uses_numpy(size: int) -> bool:
    """Whether numpy is there, and worth its import for a payload of this size; then it is imported.

    Without a lock, also where there is no GIL: two threads that come here at the same time both get the whole module,
    by the lock of the import system, and store the same values.
    """
    global _numpy, _word
    if _numpy is not ...:
        return _numpy is not None
    if size < _NUMPY:
        return False
    try:
        # Not an import statement: the library must type-check where numpy is not installed.
        numpy = importlib.import_module("numpy")
        _word = numpy.dtype(numpy.uint64)
        _numpy = numpy  # last: a thread that finds it uses both
    except Exception:
        # Not installed; or broken; or in a second interpreter of one process (mod_wsgi), which numpy refuses.
        _numpy = None
    return _numpy is not None
