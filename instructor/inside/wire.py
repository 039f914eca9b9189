"""Values as bytes: what goes to a student's code and what comes back, with no pickle.

A message is a tree in JSON and the bytes of its tensors behind it. Whoever reads one builds plain
values only: numbers, texts, lists, dictionaries, tensors, and the data classes of gptlib. Of any
other object its type's name and a short text arrive, so nothing that a student wrote, such as a
tensor that says it equals everything, is ever compared with an answer.
"""

from __future__ import annotations

import importlib
import json
import math
import re
import socket
import struct
import sys
import time
from dataclasses import fields, is_dataclass
from typing import Any

import torch

MOST = 32 * 2**20  # bytes of one message
imports = False  # whether a data class may be imported to be built: inside alone
DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
        torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64,
    )
}  # fmt: skip
NAMES = {dtype: name for name, dtype in DTYPES.items()}


class Broken(Exception):
    """Bytes that are no message: too long, cut off, or not built as `pack` builds them."""


class Foreign:
    """An object of a kind that does not travel; it equals nothing, itself excepted."""

    text = ""

    def __repr__(self) -> str:
        return self.text


def foreign(kind: str, text: str) -> Foreign:
    """An object whose type has this name and whose text is this one.

    type(foreign("ndarray", "array([1])")).__name__ -> 'ndarray'
    """
    name = re.sub(r"\W", "_", kind)[:60] or "object"
    made: Foreign = type(name, (Foreign,), {"text": text[:200]})()
    return made


def pack(value: Any) -> bytes:
    """A value as bytes. Errors: Broken where it is longer than MOST."""
    blobs: list[bytes] = []
    tree = json.dumps(_node(value, blobs)).encode()
    size = 4 + len(tree) + sum(map(len, blobs))
    if size > MOST:
        raise Broken(f"it takes {size / 2**20:.0f} MB; {MOST // 2**20} MB is the most")
    return b"".join([struct.pack(">I", len(tree)), tree, *blobs])


def _node(value: Any, blobs: list[bytes]) -> Any:
    if type(value).__module__ == "numpy" and hasattr(value, "item") and not hasattr(value, "len"):
        value = value.item() if getattr(value, "ndim", 1) == 0 else value
    if value is None or isinstance(value, bool | str):
        return value if value is None or isinstance(value, bool) else str.__str__(value)
    if isinstance(value, int):
        return int.__add__(value, 0)
    if isinstance(value, float):
        return float.__add__(value, 0.0)
    if torch.is_tensor(value) and value.dtype in NAMES and value.layout == torch.strided:
        return _tensor(value.detach(), blobs)
    if isinstance(value, bytes | bytearray):
        blobs.append(bytes(value))
        return ["bytes", len(value)]
    if isinstance(value, list):
        return ["list", [_node(one, blobs) for one in list.__iter__(value)]]
    if _is_record(type(value)) and type(value).__module__.startswith("gptlib."):
        state = {name: _node(getattr(value, name), blobs) for name in type(value)._fields}
        return ["data", type(value).__module__, type(value).__qualname__, state]
    if isinstance(value, tuple):
        return ["tuple", [_node(one, blobs) for one in tuple.__iter__(value)]]
    if isinstance(value, set | frozenset):
        return ["set", [_node(one, blobs) for one in sorted(value, key=repr)]]
    if isinstance(value, dict):
        return ["dict", [[_node(k, blobs), _node(v, blobs)] for k, v in value.items()]]
    if value is Ellipsis:
        return ["..."]
    if isinstance(value, torch.dtype):
        return ["dtype", NAMES.get(value, "float32")]
    if is_dataclass(value) and type(value).__module__.startswith("gptlib."):
        state = {f.name: _node(getattr(value, f.name), blobs) for f in fields(value)}
        return ["data", type(value).__module__, type(value).__qualname__, state]
    return ["other", type(value).__name__, without_addresses(repr(value))[:200]]


def _is_record(kind: Any) -> bool:
    """Whether it is a NamedTuple."""
    return isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")


def without_addresses(text: str) -> str:
    """A text without the places of objects in memory, which differ from run to run.

    without_addresses("<A object at 0x7f00>") -> "<A object>"
    """
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def _tensor(value: torch.Tensor, blobs: list[bytes]) -> list[Any]:
    shape = list(value.shape)
    if value.device.type == "meta":
        return ["meta", NAMES[value.dtype], shape]
    if value.numel() * value.element_size() > MOST:
        raise Broken(f"it gives a tensor of shape {tuple(shape)}: more than {MOST // 2**20} MB")
    raw = value.cpu().resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8)
    blobs.append(raw.numpy().tobytes())
    return ["tensor", NAMES[value.dtype], shape]


def unpack(data: bytes) -> Any:
    """The value of a message. Errors: Broken, whatever the bytes are."""
    try:
        (size,) = struct.unpack(">I", data[:4])
        tree = json.loads(data[4 : 4 + size])
        reader = _Reader(data, 4 + size)
        value = reader.value(tree)
        if reader.at != len(data):
            raise Broken("bytes are left over")
        return value
    except Broken:
        raise
    except Exception as error:  # anything may stand in such bytes
        raise Broken(f"{type(error).__name__} while it was read") from None


class _Reader:
    """Builds values from a tree; the bytes of tensors follow in its order."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at

    def take(self, count: int) -> bytes:
        if not 0 <= count <= len(self.data) - self.at:
            raise Broken("it is cut off")
        self.at += count
        return self.data[self.at - count : self.at]

    def value(self, node: Any) -> Any:
        if not isinstance(node, list):
            if isinstance(node, dict):
                raise Broken("a bare object")
            return node
        kind, *rest = node
        made = getattr(self, f"_{kind}", None) if kind in KINDS else None
        if kind == "...":
            return ...
        if made is None:
            raise Broken("an unknown kind")
        return made(*rest)

    def _list(self, items: list[Any]) -> list[Any]:
        return [self.value(one) for one in items]

    def _tuple(self, items: list[Any]) -> tuple[Any, ...]:
        return tuple(self._list(items))

    def _set(self, items: list[Any]) -> set[Any]:
        return set(self._list(items))

    def _dict(self, pairs: list[Any]) -> dict[Any, Any]:
        return {self.value(key): self.value(one) for key, one in pairs}

    def _bytes(self, count: int) -> bytes:
        return self.take(count)

    def _dtype(self, name: str) -> torch.dtype:
        return DTYPES[name]

    def _meta(self, dtype: str, shape: list[int]) -> torch.Tensor:
        return torch.empty(_sizes(shape), dtype=DTYPES[dtype], device="meta")

    def _tensor(self, dtype: str, shape: list[int]) -> torch.Tensor:
        count = math.prod(_sizes(shape)) * DTYPES[dtype].itemsize
        raw = bytearray(self.take(count))
        if not raw:
            return torch.empty(shape, dtype=DTYPES[dtype])
        return torch.frombuffer(raw, dtype=torch.uint8).view(DTYPES[dtype]).reshape(shape)

    def _data(self, module: str, name: str, state: dict[str, Any]) -> Any:
        if not module.startswith("gptlib.") or "." in name:
            raise Broken("a foreign data class")
        if imports:
            importlib.import_module(module)
        found = getattr(sys.modules[module], name)
        if not ((isinstance(found, type) and is_dataclass(found)) or _is_record(found)):
            raise Broken("no data class")
        return found(**{key: self.value(one) for key, one in state.items()})

    def _other(self, kind: str, text: str) -> Foreign:
        return foreign(kind, text)


KINDS = {"list", "tuple", "set", "dict", "bytes", "dtype", "meta", "tensor", "data", "other"}


def _sizes(shape: Any) -> list[int]:
    if not isinstance(shape, list) or len(shape) > 16:
        raise Broken("no shape")
    if not all(type(n) is int and 0 <= n < 2**40 for n in shape):
        raise Broken("no shape")
    return shape


# Messages over a socket --------------------------------------------------------------------------


def send(channel: socket.socket, value: Any) -> None:
    """Send a value. Errors: Broken, OSError."""
    data = pack(value)
    channel.sendall(struct.pack(">Q", len(data)) + data)


def receive(channel: socket.socket, until: float | None = None) -> Any:
    """The next value; `until` is a moment of time.monotonic(). Errors: Broken, OSError, EOFError,
    TimeoutError."""
    (size,) = struct.unpack(">Q", _exactly(channel, 8, until))
    if size > MOST:
        raise Broken("it is too long")
    return unpack(_exactly(channel, size, until))


def _exactly(channel: socket.socket, count: int, until: float | None) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        if until is not None:
            channel.settimeout(max(1e-3, until - time.monotonic()))
            if time.monotonic() >= until:
                raise TimeoutError
        part = channel.recv(min(count - len(parts), 2**20))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)
