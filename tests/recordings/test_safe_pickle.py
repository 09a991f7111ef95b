"""Pickles: plain values come out as they went in, and nothing that a file names is ever run or imported."""

from __future__ import annotations

import collections
import io
import os
import pickle
import pickletools
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurodecode.errors import RecordingError
from neurodecode.recordings import safe_pickle
from neurodecode.recordings.pickle_limits import PickleLimit, check_limits
from neurodecode.recordings.safe_pickle import read_pickle

PLAIN = {
    "name": "嘴巴",
    "data": np.arange(12, dtype=np.float64).reshape(3, 4),
    "fortran": np.asfortranarray(np.arange(6, dtype="<f4").reshape(2, 3)),
    "big": np.arange(3, dtype=">i4"),
    "text": np.array(["a", "bcd"]),
    "empty": np.zeros((0, 7)),
    "scalar": np.float64(2.5),
    "rest": [1, (2.0, None, True), {3, 4}, b"\x00\xff", b"", 1 + 2j, [], bytearray(b"xy")],
}


class DotDict(dict):
    """As in the released files: a dict whose items are attributes too, and that sets them itself."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch) -> type[DotDict]:
    """The class under the name it has in the released files; gone before anything is read."""
    module = types.ModuleType("utils")
    monkeypatch.setattr(DotDict, "__module__", "utils")
    module.DotDict = DotDict  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "utils", module)
    return DotDict


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def same(first: Any, second: Any) -> None:
    """Equal in type and value, array by array."""
    if isinstance(first, np.ndarray):
        assert isinstance(second, np.ndarray)
        assert first.dtype == second.dtype
        np.testing.assert_array_equal(first, second)
    elif isinstance(first, dict):
        assert type(second) is dict
        assert first.keys() == second.keys()
        for key in first:
            same(first[key], second[key])
    elif isinstance(first, list | tuple):
        assert len(first) == len(second)
        for one, other in zip(first, second):
            same(one, other)
    else:
        assert first == second


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_come_out_as_they_went_in(tmp_path: Path, protocol: int) -> None:
    same(PLAIN, read_pickle(written(tmp_path / "data", pickle.dumps(PLAIN, protocol))))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_named_mappings_come_out_as_dicts(tmp_path: Path, released: type[DotDict], protocol: int) -> None:
    value = [released(name="我", data_s=np.eye(3)), released()]
    path = written(tmp_path / "data", pickle.dumps(value, protocol))
    del sys.modules["utils"]
    same([{"name": "我", "data_s": np.eye(3)}, {}], read_pickle(path, ("utils.DotDict",)))
    with pytest.raises(RecordingError, match=r"data: its pickle holds the class utils.DotDict; only containers"):
        read_pickle(path)


def test_module_paths_of_numpy_before_and_since_2_are_the_same(tmp_path: Path) -> None:
    content = pickle.dumps(PLAIN["data"], 2)
    old, new = b"cnumpy.core.multiarray\n", b"cnumpy._core.multiarray\n"
    assert (old in content) != (new in content)
    for home in (old, new):
        other = content.replace(old, home).replace(new, home)
        same(PLAIN["data"], read_pickle(written(tmp_path / "data", other)))


class Reduced:
    """Pickled as a call."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.parts = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> Any:
        return self.parts


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_runs_a_command_is_refused_before_it_runs(tmp_path: Path, protocol: int) -> None:
    victim = tmp_path / "victim"
    content = pickle.dumps([PLAIN, Reduced(os.mkdir, str(victim))], protocol)
    path = written(tmp_path / "data", content)
    with pytest.raises(RecordingError, match=r"the class (posix|nt)\.mkdir") as caught:
        read_pickle(path)
    assert "\n" not in str(caught.value)
    assert not victim.exists()
    pickle.loads(content)  # it would have
    assert victim.exists()


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (eval, ("1",)),
        (exec, ("1",)),
        (getattr, ("a", "upper")),
        (__import__, ("os",)),
        (open, ("x",)),
        (object, ()),
        (bytes, (10**12,)),
        (bytearray, (10**12,)),
        (np.frombuffer, (b"12345678",)),
        (np.load, ("x",)),
        (collections.Counter, ()),
        (np.dtype, ("O",)),
        (np.dtype, ("M8[s]",)),
        (np.dtype, ("f8,f8",)),
        (np.dtype, ("3f8",)),
        (np.ndarray, ((10**9,),)),
    ],
)
def test_what_is_not_on_the_list_is_refused(tmp_path: Path, function: Any, arguments: tuple) -> None:
    path = written(tmp_path / "data", pickle.dumps(Reduced(function, *arguments)))
    with pytest.raises(RecordingError, match="its pickle holds .*; only containers, numbers, text and numpy arrays"):
        read_pickle(path)


def test_a_module_that_a_pickle_names_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "imported_by_a_pickle.py").write_text("raise SystemExit")
    monkeypatch.syspath_prepend(str(tmp_path))
    path = written(tmp_path / "data", b"cimported_by_a_pickle\nanything\n.")
    with pytest.raises(RecordingError, match="the class imported_by_a_pickle.anything"):
        read_pickle(path, ("utils.DotDict",))


HOME = "numpy._core.multiarray" if "numpy._core" in sys.modules else "numpy.core.multiarray"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ((1, (2, 3), np.dtype("f8"), False, b"\x00" * 40), r"shape \(2, 3\) with 40 bytes instead of 48"),
        ((1, (2**40,), np.dtype("f8"), False, b""), r"with 0 bytes instead of"),
        ((1, (-1,), np.dtype("f8"), False, b""), "shape is no tuple of counts"),
        ((1, (True,), np.dtype("f8"), False, b"\x00" * 8), "shape is no tuple of counts"),
        ((1, (1,) * 40, np.dtype("f8"), False, b"\x00" * 8), "shape is no tuple of counts"),
        ((1, (1,), "f8", False, b"\x00" * 8), "state is not one of numpy"),
        ((1, (1,), np.dtype("f8"), False, [1.0]), "state is not one of numpy"),
        ("text", "state is not one of numpy"),
    ],
)
def test_an_array_has_as_many_bytes_as_its_shape_says(tmp_path: Path, state: Any, said: str) -> None:
    rebuild = getattr(sys.modules[HOME], "_reconstruct")  # noqa: B009  # a private name of numpy, as pickles have it
    path = written(tmp_path / "data", pickle.dumps(Reduced(rebuild, np.ndarray, (0,), b"b", state=state)))
    with pytest.raises(RecordingError, match=said):
        read_pickle(path)
    path = written(tmp_path / "data", pickle.dumps(Reduced(rebuild, np.ndarray, (2**40,), b"b", state=state)))
    with pytest.raises(RecordingError, match="no plain numpy.ndarray"):
        read_pickle(path)


def test_object_arrays_and_subclasses_of_arrays_are_refused(tmp_path: Path) -> None:
    for value in (np.array([1, "a"], object), np.ma.masked_array([1.0]), np.zeros(2, [("a", "f8")]), np.rec.array([1])):
        with pytest.raises(RecordingError, match="its pickle holds"):
            read_pickle(written(tmp_path / "data", pickle.dumps(value)))


def test_a_pickle_cannot_change_what_reads_it(tmp_path: Path) -> None:
    # BUILD on a function: an unpickler would set its attributes, here its defaults
    for state in (b"}", b"(N(V__defaults__\n(I1\ntdt"):
        path = written(tmp_path / "data", b"cnumpy._core.multiarray\n_reconstruct\n" + state + b"b.")
        with pytest.raises(RecordingError, match="a change of a function"):
            read_pickle(path)
    same(PLAIN["data"], read_pickle(written(tmp_path / "data", pickle.dumps(PLAIN["data"]))))


def test_a_class_or_a_function_is_no_value(tmp_path: Path) -> None:
    for content in (b"cnumpy\nndarray\n.", b"c__builtin__\ndict\n.", b"(lcnumpy\ndtype\na."):
        with pytest.raises(RecordingError, match="a class or a function in place of a value"):
            read_pickle(written(tmp_path / "data", content))


def test_lists_inside_lists_are_looked_at_once_and_not_without_end(tmp_path: Path) -> None:
    value: list = [0]
    for _ in range(25):
        value = [value, value]  # 2 ** 25 ways to the bottom
    read = read_pickle(written(tmp_path / "data", pickle.dumps(value)))
    assert read[0] is read[1]
    for _ in range(10):
        value = [value]
    with pytest.raises(RecordingError, match="more than 32 levels deep"):
        read_pickle(written(tmp_path / "data", pickle.dumps(value)))
    ring: list = []
    ring.append(ring)
    read = read_pickle(written(tmp_path / "data", pickle.dumps(ring)))
    assert read[0] is read


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


FLOATS = named("numpy", "dtype") + b"V<f8\n\x85R"
EMPTY = named("numpy._core.multiarray", "_reconstruct") + b"(" + named("numpy", "ndarray") + b"K\x00\x85C\x01btR"


@pytest.mark.parametrize(
    "one_more",
    [b"\x85", b"K\x00\x86", b"NN\x87", b"q\x00h\x000\x85", b"0(h\x00tq\x00", b"2\x86", b"(e\x85", b"Nb\x85", b"(0\x85"]
    + [b"(K\x001\x85", b"\x94h\x010q\x01\x85", b"]K\x00a0\x85", b"}K\x00K\x00s0\x85", b"(lp0\n0\x85", b"]0\x85"],
)
def test_each_way_to_put_a_tuple_into_another_counts_as_one_level(tmp_path: Path, one_more: bytes) -> None:
    def levels(value: Any) -> int:
        return 1 + levels(value[0]) if isinstance(value, tuple) else 0

    for number in (32, 33):
        content = b"\x80\x04K\x01q\x00q\x01" + one_more * number + b"."
        assert levels(pickle.loads(content)) == number
        path = written(tmp_path / "data", content)
        if number == 32:
            check_limits(path, 32)
        else:
            with pytest.raises(PickleLimit, match="containers more than 32 levels deep"):
                check_limits(path, 32)


def test_tuples_inside_each_other_are_counted_before_one_of_them_is_hashed(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="containers more than 32 levels deep"):
        read_pickle(written(tmp_path / "data", b"\x80\x04}" + b")" + b"\x85" * 2_000_000 + b"K\x01s."))
    key: tuple = ()
    for _ in range(20):
        key = (key, 1)
    same({key: [key]}, read_pickle(written(tmp_path / "data", pickle.dumps({key: [key]}))))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"Nr" + (150_000_000).to_bytes(4, "little") + b".", "place 150000000 of a memo that can hold 3 values"),
        (b"Np150000000\n.", "place 150000000 of a memo"),
        (b"Np-1\n.", "place -1 of a memo"),
        (b"\x8e" + (2**62).to_bytes(8, "little") + b".", r"ends early \(12 bytes\)"),
        (b"B" + (2**31).to_bytes(4, "little") + b".", "ends early"),
        (b"\x95" + (2**40).to_bytes(8, "little") + b"N.", "ends early"),
        (b"\x8b" + (2**30).to_bytes(4, "little") + b".", "ends early"),
        (b"\x8b\xff\xff\xff\xff.", "do not fit together"),
        (b"Nq\x00j\x05", "ends early"),  # cut inside a place
        (b"h\x05.", "do not fit together"),
        (b"\x86.", "do not fit together"),
        (b"\xff.", "do not fit together"),
    ],
)
def test_what_a_file_asks_for_is_held_against_its_own_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, said: str
) -> None:
    monkeypatch.setattr(safe_pickle, "_Reader", None)  # nothing is loaded: it would fail in another way
    with pytest.raises(RecordingError, match=said) as caught:
        read_pickle(written(tmp_path / "data", b"\x80\x04" + content))
    assert "\n" not in str(caught.value)


def test_keys_hold_no_stand_ins_and_no_classes_however_deep(tmp_path: Path) -> None:
    kinds = {"array": EMPTY, "class": named("builtins", "dict"), "dtype": FLOATS, "call": named("numpy", "dtype")}
    for kind in kinds.values():
        for key in (
            kind,
            kind + b"\x85",
            b"K\x01" + kind + b"\x85\x86",
            b"(" + kind + b"\x91",
            b"(" + kind + b"\x85\x91",
        ):
            with pytest.raises(RecordingError, match="a mapping whose keys are no plain values"):
                read_pickle(written(tmp_path / "data", b"\x80\x04}" + key + b"K\x01s."))
    # the same tuple as a value first, where what it holds is replaced
    array = EMPTY + b"(K\x01K\x01\x85" + FLOATS + b"\x89C\x08" + bytes(8) + b"tb"
    content = b"\x80\x04](" + array + b"\x85q\x01}h\x01K\x01se."
    with pytest.raises(RecordingError, match="a mapping whose keys are no plain values"):
        read_pickle(written(tmp_path / "data", content))
    plain = {(1, ("a", frozenset({2.5}))): 3, frozenset({(1,)}): 4}
    same(plain, read_pickle(written(tmp_path / "data", pickle.dumps([plain, plain])))[1])


@pytest.mark.parametrize("raw", [b"B\x08\x00\x00\x00", b"\x96\x08" + bytes(7)], ids=["bytes", "bytearray"])
def test_arrays_over_a_buffer_are_read_only_and_no_state_is_set_on_them(tmp_path: Path, raw: bytes) -> None:
    number = np.array([2.5]).tobytes()
    made = named("numpy._core.numeric", "_frombuffer") + b"(" + raw + number + FLOATS + b"K\x01\x85VC\ntR"
    read = read_pickle(written(tmp_path / "data", b"\x80\x05" + made + b"."))
    assert read.tolist() == [2.5]
    assert not read.flags.writeable
    state = b"(K\x01K\x01\x85" + FLOATS + b"\x89C\x08" + bytes(8) + b"tb"
    for again in (state, b"(K\x01\x85" + FLOATS + b"\x89C\x08" + bytes(8) + b"tb"):  # numpy takes the second
        with pytest.raises(RecordingError, match="an array with two states"):
            read_pickle(written(tmp_path / "data", b"\x80\x05" + made + again + b"."))


def test_values_without_bytes_do_not_become_values(tmp_path: Path) -> None:
    empty = named("numpy", "dtype") + b"VS0\n\x85R"
    state = b"(K\x01J" + (2**30).to_bytes(4, "little") + b"\x85" + empty + b"\x89C\x00tb"
    with pytest.raises(RecordingError, match=r"an array of shape \(1073741824,\) whose values have no bytes"):
        read_pickle(written(tmp_path / "data", b"\x80\x04" + EMPTY + state + b"."))


def test_references_out_of_the_file_are_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    pickler = pickle.Pickler(file)
    pickler.persistent_id = lambda value: "elsewhere" if value == 1 else None  # type: ignore[method-assign]
    pickler.dump([1])
    with pytest.raises(RecordingError, match="a reference to something outside the file"):
        read_pickle(written(tmp_path / "data", file.getvalue()))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_file_cut_anywhere_is_one_line(tmp_path: Path, protocol: int) -> None:
    content = pickle.dumps(PLAIN, protocol)
    cuts = sorted({0, 1, 2, len(content) // 2, len(content) - 1, *(p for _, _, p in pickletools.genops(content) if p)})
    assert len(cuts) > 50
    for cut in cuts:
        with pytest.raises(RecordingError, match=r"data: .*get it again$") as caught:
            read_pickle(written(tmp_path / "data", content[:cut]))
        assert "\n" not in str(caught.value)


def test_what_is_no_pickle_is_one_line(tmp_path: Path) -> None:
    for content, said in (
        (b"Not a pickle\n at all", "is no readable pickle"),
        (pickle.dumps(1) + b"more", "goes on after its pickle"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "not downloaded, only a pointer"),
    ):
        with pytest.raises(RecordingError, match=said) as caught:
            read_pickle(written(tmp_path / "data", content))
        assert "\n" not in str(caught.value)
    with pytest.raises(RecordingError, match="no such file"):
        read_pickle(tmp_path / "absent")
