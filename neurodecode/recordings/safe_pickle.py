"""Pickles of released data, read without trusting them: containers, text, numbers and numpy arrays, nothing else.

A path in; dicts, lists, tuples, sets, text, bytes, numbers and numpy arrays of numbers out. A pickle may name any class or
function of the machine and have it called. Here each name is looked up in one short list, and what stands there is code of
this file: numpy's own rebuilding is never called on values of the file, since a crafted shape or dtype can harm that too.

Before that, pickle_limits.py looks at how much the file asks for. A file made to take long, or to fill the memory with small
values, is not guarded against.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from neurodecode.errors import RecordingError
from neurodecode.recordings.formats import refuse_pointer
from neurodecode.recordings.pickle_limits import PickleLimit, check_limits

NUMPY_HOMES = ("numpy.core", "numpy._core")  # before and since numpy 2
KINDS = "biufcSU"  # dtypes of numbers and text; objects, records and times are refused
DEEPEST = 32  # axes of an array, and levels of containers inside each other


class _Refused(Exception):
    """What makes a pickle unreadable here: a class that is not allowed, or values that do not fit."""


class _Dtype:
    """Stands for a numpy dtype while a pickle is read."""

    def __init__(self, text: Any, *_: Any) -> None:
        if not isinstance(text, str):
            raise _Refused(f"a dtype of {type(text).__name__}, not of text")
        try:
            self.dtype = np.dtype(text)
        except TypeError:
            raise _Refused(f"the dtype {text[:20]!r}") from None
        if self.dtype.kind not in KINDS or self.dtype.fields or self.dtype.subdtype:
            raise _Refused(f"the dtype {text[:20]!r}; allowed are numbers and text")

    def __setstate__(self, state: Any) -> None:
        # (version, byte order, subdtype, names, fields, itemsize, alignment, flags[, metadata])
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
            raise _Refused("a dtype whose state is not one of numpy")
        if any(part is not None for part in state[2:5]):
            raise _Refused("a dtype with fields")
        if self.dtype.kind in "US" and len(state) > 5 and state[5] not in (-1, self.dtype.itemsize):
            raise _Refused("a dtype whose size is not the one of its name")
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands for a numpy array while a pickle is read; `values` once its state has come."""

    def __init__(self, values: np.ndarray | None = None) -> None:
        self.values = values

    def __setstate__(self, state: Any) -> None:
        # (version, shape, dtype, in Fortran's order, raw bytes)
        if self.values is not None:
            raise _Refused("an array with two states")
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise _Refused("an array whose state is not one of numpy")
        shape, dtype, fortran, raw = state[-4:]
        self.values = _array(shape, dtype, "F" if fortran else "C", raw)


def _array(shape: Any, dtype: Any, order: Any, raw: Any) -> np.ndarray:
    """A read-only array over the bytes of the file, once they are as many as shape and dtype say."""
    if not isinstance(shape, tuple) or len(shape) > DEEPEST or any(type(n) is not int or n < 0 for n in shape):
        raise _Refused("an array whose shape is no tuple of counts")
    if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes | bytearray) or order not in ("C", "F"):
        raise _Refused("an array whose state is not one of numpy")
    wanted = prod(shape) * dtype.dtype.itemsize
    if len(raw) != wanted:
        raise _Refused(f"an array of shape {shape} with {len(raw)} bytes instead of {wanted}")
    if not dtype.dtype.itemsize and prod(shape):  # numpy would give each of them a byte that is not there
        raise _Refused(f"an array of shape {shape} whose values have no bytes")
    values = np.frombuffer(raw, dtype.dtype).reshape(shape, order=order) if wanted else np.zeros(shape, dtype.dtype)
    values.setflags(write=False)  # a bytearray lets itself be written
    return values


def _reconstruct(kind: Any, shape: Any = (0,), _: Any = b"b") -> _Array:
    """numpy's `_reconstruct(ndarray, (0,), b"b")`: an empty array, filled by its state."""
    if kind is not _NDARRAY or shape != (0,):
        raise _Refused("an array that is no plain numpy.ndarray")
    return _Array()


def _from_buffer(raw: Any, dtype: Any, shape: Any, order: Any = "C") -> _Array:
    """numpy's `_frombuffer`, in pickles of protocol 5."""
    return _Array(_array(shape, dtype, order, raw))


def _scalar(dtype: Any, raw: Any = b"") -> Any:
    """numpy's `scalar`: one number."""
    return _array((), dtype, "C", raw)[()]


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """Bytes in pickles of protocols 0 to 2 are latin-1 text that is encoded again."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise _Refused("bytes in another encoding than latin-1")
    return text.encode("latin-1")


def _rebuild(kind: Any, base: Any, state: Any = None) -> dict:
    """copyreg's `_reconstructor`, in pickles of protocols 0 and 1: only a mapping over a dict."""
    if kind not in (dict, _Mapping) or base is not dict or not isinstance(state, dict | None):
        raise _Refused("an object of another kind than a mapping")
    return dict(state or {})


class _Call:
    """A function that a pickle may have called. Unlike a function it has nothing that a pickle could change."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        """Call it."""
        return self._function(*arguments)

    def __setstate__(self, _: Any) -> None:
        raise _Refused("a change of a function")


class _Mapping(dict):
    """Stands for a subclass of dict while a pickle is read."""

    def __setstate__(self, state: Any) -> None:
        # attributes of such a class are its items, whichever way it keeps them
        if not isinstance(state, dict):
            raise _Refused("a mapping whose state is no dict")
        for key, value in state.items():
            self.setdefault(key, value)


def _bytes(raw: Any = b"") -> bytes:
    """A number would ask for so many bytes: only bytes are taken."""
    if not isinstance(raw, bytes | bytearray):
        raise _Refused(f"bytes made of {type(raw).__name__}")
    return bytes(raw)


def _nothing(*_: Any) -> None:
    raise _Refused("a call of a class that is only ever named")


_NDARRAY = _Call(_nothing)  # argument of _reconstruct


def _allowed() -> dict[tuple[str, str], Any]:
    names: dict[tuple[str, str], Any] = {
        ("numpy", "dtype"): _Call(_Dtype),
        ("numpy", "ndarray"): _NDARRAY,
        ("_codecs", "encode"): _Call(_encode),
        ("collections", "OrderedDict"): _Mapping,
    }
    for home in ("copyreg", "copy_reg"):  # the second is Python 2's name, as __builtin__ below
        names[home, "_reconstructor"] = _Call(_rebuild)
    for home in NUMPY_HOMES:
        names[f"{home}.multiarray", "_reconstruct"] = _Call(_reconstruct)
        names[f"{home}.multiarray", "scalar"] = _Call(_scalar)
        names[f"{home}.numeric", "_frombuffer"] = _Call(_from_buffer)
    for home in ("builtins", "__builtin__"):
        names |= {(home, kind.__name__): kind for kind in (dict, set, frozenset, complex)}
        names |= {(home, name): _Call(_bytes) for name in ("bytes", "bytearray")}
    return names


ALLOWED: Mapping[tuple[str, str], Any] = _allowed()


class _Reader(pickle.Unpickler):
    """An unpickler that knows nothing but `ALLOWED` and the mappings it is told of."""

    def __init__(self, file: Any, mappings: frozenset[str]) -> None:
        super().__init__(file, fix_imports=False, encoding="latin1")
        self.mappings = mappings

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name, or a refusal; nothing is imported."""
        found = ALLOWED.get((module, name))
        if found is None and f"{module}.{name}" in self.mappings:
            found = _Mapping
        if found is None:
            raise _Refused(f"the class {module}.{name}"[:200])
        return found

    def persistent_load(self, _: Any) -> Any:
        """References out of the file are refused."""
        raise _Refused("a reference to something outside the file")


def read_pickle(path: Path, mappings: tuple[str, ...] = ()) -> Any:
    """Read a pickle of plain values.

    Parameters
    ----------
    path
        Of the file.
    mappings
        Full names (`utils.DotDict.DotDict`) of subclasses of dict that the file may hold; they come out as dicts.

    Returns
    -------
    object
        Containers, text, bytes, numbers; arrays are read-only and lie on the bytes that were read.

    Raises
    ------
    RecordingError
        If the file is missing, cut short, no pickle, or names anything that is not allowed; one line.
    """
    refuse_pointer(path)
    if not path.is_file():
        raise RecordingError(f"{path}: no such file; get it again")
    if not path.stat().st_size:
        raise RecordingError(f"{path}: is empty; get it again")
    try:
        check_limits(path, DEEPEST)
        with open(path, "rb") as file:
            value = _Reader(file, frozenset(mappings)).load()
            left = len(file.read(1))
        value = _plain(value, 0, {})
    except (_Refused, PickleLimit) as error:
        raise RecordingError(
            f"{path}: its pickle holds {' '.join(str(error).split())}; only containers, numbers, text and numpy arrays "
            "are read: do not open it otherwise unless you trust who made it"
        ) from None
    except EOFError:
        raise RecordingError(f"{path}: ends early ({path.stat().st_size} bytes); get it again") from None
    except MemoryError:
        raise RecordingError(f"{path}: needs more memory than there is ({path.stat().st_size} bytes)") from None
    except Exception as error:  # the unpickler raises what it happens on
        text = " ".join(str(error).split())[:120]
        early = "truncated" in text or "ran out" in text
        what = "ends early" if early else f"is no readable pickle ({type(error).__name__}: {text})"
        raise RecordingError(f"{path}: {what}; get it again") from None
    if left:
        raise RecordingError(f"{path}: goes on after its pickle; it is another format or damaged, get it again")
    return value


def _plain(value: Any, depth: int, done: dict[int, tuple[Any, Any]]) -> Any:
    """Stand-ins replaced by what they stand for; `done` holds what was met before, so that it is looked at once."""
    if depth > DEEPEST:
        raise _Refused(f"containers more than {DEEPEST} levels deep")
    if id(value) in done:
        return done[id(value)][1]
    result = value
    if isinstance(value, _Array):
        if value.values is None:
            raise _Refused("an array without values")
        result = value.values
    elif isinstance(value, _Dtype):
        result = value.dtype
    elif isinstance(value, dict):
        for key in value:
            _refuse_odd_key(key, depth + 1, done)
        result = {}
        done[id(value)] = value, result
        result |= {key: _plain(item, depth + 1, done) for key, item in value.items()}
    elif isinstance(value, list):
        result = []
        done[id(value)] = value, result
        result += [_plain(item, depth + 1, done) for item in value]
    elif isinstance(value, tuple):
        result = tuple(_plain(item, depth + 1, done) for item in value)
    elif isinstance(value, set | frozenset):
        result = type(value)(_plain(item, depth + 1, done) for item in value)
    elif isinstance(value, _Call | type):
        raise _Refused("a class or a function in place of a value")
    done[id(value)] = value, result
    return result


def _refuse_odd_key(key: Any, depth: int, done: dict[int, tuple[Any, Any]]) -> None:
    """A key stays as it is, so that nothing in it may stand for anything else; what is in it can be hashed."""
    if isinstance(key, _Array | _Dtype | _Call | type):
        raise _Refused("a mapping whose keys are no plain values")
    # as a value it may have been met with stand-ins, which were replaced in a copy
    if isinstance(key, tuple | frozenset) and done.get(id(key), (None, None))[1] is not key:
        if depth > DEEPEST:
            raise _Refused(f"containers more than {DEEPEST} levels deep")
        for part in key:
            _refuse_odd_key(part, depth + 1, done)
        done[id(key)] = key, key
