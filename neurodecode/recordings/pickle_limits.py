"""What a pickle asks of memory and stack, looked at before anything of it is loaded.

    check_limits(Path("data"), deepest=32)      # returns, or raises PickleLimit

In: a file, mapped; texts and the bytes of arrays are passed over, so that the time goes with the number of operations, not with
the size. Refused are lengths beyond the end of the file, places in the memo beyond the number of operations before them, and
tuples inside each other more levels than said: an unpickler asks for as much memory as a place says, and hashing a deep tuple
ends the process.
"""

from __future__ import annotations

import mmap
import pickletools
from pathlib import Path

# how pickletools numbers arguments that are no fixed number of bytes
LINE = -1
LENGTHS = {-2: 1, -3: 4, -4: 4, -5: 8}  # bytes of the length that goes before the argument
SIGNED = -3

FRAME = "\x95"
TUPLES = {"t": 0, "\x85": 1, "\x86": 2, "\x87": 3}  # made of so many values; 0: of all since the last mark
GET, PUT, MEMOIZE = "ghj", "pqr", "\x94"
TWO_LINES = "ci"  # module and name
CHANGES = "aesubu\x90"  # the value that these change stays where it is, whatever it is


class PickleLimit(Exception):
    """What is beyond a limit."""


def check_limits(path: Path, deepest: int) -> None:
    """Walk through the operations of a pickle without doing them.

    Parameters
    ----------
    path
        Of a file that is not empty.
    deepest
        Levels of tuples inside each other that are allowed.

    Raises
    ------
    PickleLimit
        If something is beyond a limit.
    ValueError
        If operations do not fit together.
    EOFError
        If the file ends before its pickle does.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        try:
            _walk(content, deepest)
        except (IndexError, KeyError, ValueError):
            raise ValueError("operations that do not fit together") from None


def _walk(content: mmap.mmap, deepest: int) -> None:
    size, place, done = len(content), 0, 0
    # of each value the levels of tuples that it has; 0 for all that is no tuple
    stack: list[int] = []
    marks: list[int] = []
    memo: dict[int, int] = {}
    while place < size:
        code, argument, takes, gives, kind = OPERATIONS[content[place]]
        start = place + 1
        place = start + argument if argument >= 0 else _end(content, start, code, argument)
        if place > size:
            raise EOFError
        done += 1
        if kind == "constant":
            stack.append(0)
        elif kind == "tuple":
            made_of = TUPLES[code]
            first = len(stack) - made_of if made_of else marks.pop()
            if first < 0:
                raise IndexError
            levels = 1 + max(stack[first:], default=0)
            if levels > deepest:
                raise PickleLimit(f"containers more than {deepest} levels deep")
            stack[first:] = [levels]
        elif kind == "put":
            index = len(memo) if code == MEMOIZE else _index(content[start:place], code)
            if not 0 <= index <= done:
                raise PickleLimit(f"place {index} of a memo that can hold {done} values")
            memo[index] = stack[-1]
        elif kind == "get":
            stack.append(memo[_index(content[start:place], code)])
        elif kind == "mark":
            marks.append(len(stack))
        elif kind == "down to mark":
            del stack[marks.pop() :]
            stack += [0] * gives
        elif code == "0" and marks and marks[-1] == len(stack):  # POP takes a mark as well
            marks.pop()
        elif code == "2":  # DUP
            stack.append(stack[-1])
        elif code == FRAME and place + int.from_bytes(content[start:place], "little") > size:
            raise EOFError
        elif code == ".":
            return
        elif kind == "unknown":
            raise ValueError("no operation of a pickle")
        elif takes:
            del stack[-takes:]
            stack += [0] * gives
    raise EOFError


def _end(content: mmap.mmap, place: int, code: str, argument: int) -> int:
    """Where an argument of no fixed length that starts at `place` ends."""
    if argument == LINE:
        for _ in range(2 if code in TWO_LINES else 1):
            place = content.find(b"\n", place) + 1
            if not place:
                raise EOFError
        return place
    width = LENGTHS[argument]
    length = int.from_bytes(content[place : place + width], "little", signed=argument == SIGNED)
    if length < 0:
        raise ValueError("a negative length")
    return place + width + length


def _index(text: bytes, code: str) -> int:
    return int(text) if code in "gp" else int.from_bytes(text, "little")


def _operations() -> list[tuple[str, int, int, int, str]]:
    """Byte -> code, kind or length of its argument, values that it takes, values that it gives, what is done with it."""
    table = [("", 0, 0, 0, "unknown")] * 256
    for operation in pickletools.opcodes:
        code = operation.code
        before = [value.name for value in operation.stack_before]
        takes, gives = len(before), len(operation.stack_after)
        if code in CHANGES:
            takes, gives = takes - 1, 0
        if code in TUPLES:
            kind = "tuple"
        elif code in PUT + MEMOIZE:
            kind = "put"
        elif code in GET:
            kind = "get"
        elif code == "(":
            kind = "mark"
        elif "mark" in before:
            kind = "down to mark"
        elif gives and not takes:
            kind = "constant"
        else:
            kind = "other"
        table[ord(code)] = code, operation.arg.n if operation.arg else 0, takes, gives, kind
    return table


OPERATIONS = _operations()
