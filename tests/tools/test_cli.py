# SPDX-License-Identifier: MIT
"""The command: options, exit statuses, streams, terminals."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from typing import Any

import pytest

import snapshot_writer as sw
from helpers import GOLDEN, MAIN, READER, read, save, small
from mprofile._rows import BY, VALUES


@pytest.fixture
def path(tmp_path: Any) -> str:
    return save(tmp_path / "a.bin", small(4096, cwd=str(tmp_path)).bytes())


USAGE = [
    ([], "SNAPSHOT"),
    (["--by", "size"], "'size'"),
    (["--value", "bytes"], "'bytes'"),
    (["--limit", "-1"], "-1"),
    (["--limit", "x"], "'x'"),
    (["--by", "type"], "no types"),
    (["--by", "thread", "--value", "alloc_bytes"], "inuse"),
    (["--by", "generation", "--value", "peak_bytes"], "inuse"),
    (["--cumulative", "--by", "domain"], "--cumulative"),
    (["--lim", "3"], "--lim"),
] + [
    (["--debug-dir", "no/such/folder"], "no such folder"),
    (["--debug-dir", __file__], "not a folder"),
    (["--diff"], "--diff"),
    (["--leaks", "--tree"], "expected one of them"),
    (["--leaks", "--value", "alloc_bytes"], "inuse"),
    (["--tree", "--by", "function"], "--tree"),
    (["--significant"], "--diff"),
    (["--leaf-first"], "--collapsed"),
    (["--json", "-", "--pprof", "-"], "standard output"),
    (["--pprof", "x", "--diff", "y"], "-diff_base"),
    (["--speedscope", "x", "--leaks"], "--leaks"),
]


@pytest.mark.parametrize("arguments, word", USAGE)
def test_wrong_usage(path: str, arguments: Any, word: str) -> None:
    status, out, err = read(*([path] + arguments if arguments else []))
    assert (status, out) == (1, "")
    assert word in err and len(err.splitlines()) == 1


def test_the_readme_names_every_option() -> None:
    with open(os.path.join(os.path.dirname(READER), os.pardir, "README.md"), encoding="utf-8") as file:
        readme = file.read()
    table = "".join(line for line in readme.splitlines() if line.startswith("| `--"))
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", read("--help")[1].partition("options:")[2]))
    assert len(options) > 20
    assert {option for option in options if "`%s" % option not in table} == set()
    assert "`--by %s`" % "\u00b7".join(BY) in table and "`--value %s`" % "\u00b7".join(VALUES) in table


def test_files_that_cannot_be_opened(tmp_path: Any, path: str) -> None:
    for name in ("nothing.bin", str(tmp_path), "/dev/null", "no\nsuch\x1bfile"):
        status, out, err = read(path, name)
        assert (status, out) == (2, "")
        assert len(err.splitlines()) == 1 and "\x1b" not in err


def test_a_pickle_is_not_loaded(tmp_path: Any) -> None:
    import mprofile

    name = str(tmp_path / "a.pickle")
    mprofile.Snapshot([], 1).dump(name)
    status, _, err = read(name)
    assert status == 2 and "pickle" in err


def test_version_and_help() -> None:
    status, out, _ = read("--version")
    assert status == 0 and out == "mprofile-read 1.0.0.dev0, snapshot format 1.0\n"
    status, out, _ = read("--help")
    assert status == 0 and "--exclude GLOB" in out


def test_options_and_files_in_any_order(path: str) -> None:
    first = read(path, "--by", "filename", path, "--limit", "2")
    assert first == read("--limit", "2", "--by", "filename", path, path)
    assert first[0] == 0 and "it is the same snapshot as" in " ".join(first[1].split())


def test_limit(path: str) -> None:
    assert "more lines" not in read(path, "--limit", "0")[1]
    assert "3 more lines: " in read(path, "--limit", "1")[1]
    assert "1 more line: " in read(path, "--limit", "3")[1]


def test_json(tmp_path: Any, path: str) -> None:
    status, out, err = read(path, "--json", "-")
    document = json.loads(out)
    assert (status, err) == (0, "") and out.isascii()
    assert document["report_version"] == 1 and document["processes"][0]["live_samples"] == 8
    total = document["total"]
    assert sum(row["bytes"] for row in document["rows"]) == pytest.approx(total["bytes"])
    assert sum(row["samples"] for row in document["rows"]) == total["samples"] == 8
    target = str(tmp_path / "out.json")
    assert read(path, "--json", target) == (0, "", "")
    with open(target, encoding="ascii") as file:
        assert json.load(file) == document
    status, out, err = read(path, "--json", str(tmp_path / "no" / "such"))
    assert status == 1 and len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "by, keys",
    [
        ("lineno", {"file", "line", "function", "first_line"}),
        ("filename", {"file"}),
        ("function", {"file", "function", "first_line"}),
        ("traceback", {"stack"}),
        ("thread", {"pid", "tid", "ident", "name"}),
        ("domain", {"domain"}),
        ("generation", {"pid", "allocated_in_pid", "inherited"}),
    ],
)
def test_json_rows(path: str, by: str, keys: Any) -> None:
    document = json.loads(read(path, "--json", "-", "--by", by)[1])
    figures = {"bytes", "bytes_error", "blocks", "blocks_error", "samples"}
    assert all(set(row) == figures | keys for row in document["rows"])
    assert set(document["total"]) == figures


def test_include_and_exclude(path: str) -> None:
    def files(*arguments: str) -> Any:
        rows = json.loads(read(path, "--json", "-", "--by", "filename", *arguments)[1])["rows"]
        return {row["file"] for row in rows}

    assert files("--include", "app/*") == {"app/models.py", "app/views.py"}
    assert files("--include", "app/*", "--exclude", "*views*") == {"app/models.py"}
    assert files("--include", "*views.pyc", "--include", "<string>") == {
        "app/views.py",
        "<string>",
    }
    assert files("--exclude", "*") == set()
    for by in ("thread", "generation", "domain"):
        document = json.loads(read(path, "--json", "-", "--by", by, "--include", "app/*")[1])
        got = sum(row["bytes"] for row in document["rows"])
        assert got == pytest.approx(document["selected"]["bytes"])
        assert got < document["total"]["bytes"]
    assert "no sample matches" in read(path, "--exclude", "*")[1]


def test_source_line_below_the_row(tmp_path: Any, path: str) -> None:
    (tmp_path / "app").mkdir()
    source = tmp_path / "app" / "models.py"
    source.write_text("\n" * 11 + "    rows = [1, 2]\n")
    os.utime(str(source), (1, 1))
    assert "    Model.load: rows = [1, 2]\n" in read(path)[1]
    os.utime(str(source))
    out = read(path)[1]
    assert "rows" not in out and "changed after the snapshot" in out


@pytest.mark.parametrize("first", [b"# coding: no-such-coding\n", b"\xff\xfe\n", b"# coding: utf-7\n"])
def test_a_source_in_whatever_coding_is_shown(tmp_path: Any, path: str, first: bytes) -> None:
    (tmp_path / "app").mkdir()
    source = tmp_path / "app" / "models.py"
    source.write_bytes(first + b"\n" * 10 + b"    rows = [1, 2]\n")
    os.utime(str(source), (1, 1))
    assert "    Model.load: rows = [1, 2]\n" in read(path)[1]


def test_counts_of_blocks_are_called_so(path: str) -> None:
    status, out, err = read(path, "--value", "alloc_blocks", "--limit", "1")
    assert (status, err) == (0, "")
    assert " more lines: " in out and " blocks " in out.partition(" more lines: ")[2]
    total = json.loads(read(path, "--json", "-")[1])["total"]["blocks"]
    tree = read(path, "--tree", "--value", "inuse_blocks")[1].partition("\nblocks ")[2].splitlines()[1:]
    roots = [line for line in tree if "  \u2022 " in line and not line.split("\u2022")[0].endswith("    ")]
    assert tree and sum(int(line.split()[0]) for line in roots) == pytest.approx(total, abs=1)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-16", "cp037"])
def test_any_encoding_of_the_output(encoding: str) -> None:
    for name in ("hostile.bin", "sampled.bin"):
        done = subprocess.run(
            [sys.executable, READER, os.path.join(GOLDEN, name)],
            env=dict(os.environ, PYTHONIOENCODING=encoding),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        text = done.stdout.decode(encoding)
        assert ("+-" in text) == (encoding == "ascii") or encoding in ("latin-1", "cp037")


def test_a_reader_that_goes_away_is_no_failure(tmp_path: Any) -> None:
    program = sw.Program(0)
    for number in range(3000):
        program.block(number, [("file%d.py" % number, number, "f", 1), MAIN])
    path = save(tmp_path / "a.bin", program.bytes())
    process = subprocess.Popen(
        [sys.executable, READER, path, "--limit", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait() == 0
    process.stderr.close()


def test_salvage(tmp_path: Any) -> None:
    data = small().bytes()
    path = save(tmp_path / "a.bin", data[:-1])
    assert read(path)[0] == 2
    status, out, err = read(path, "--salvage")
    assert (status, err) == (0, "")
    assert "DAMAGED" in out and "8 live samples" in out


def test_the_script_finds_the_package_from_anywhere(tmp_path: Any, path: str) -> None:
    link = tmp_path / "link"
    link.symlink_to(READER)
    (tmp_path / "build").mkdir()
    copied = tmp_path / "build" / "mprofile-read"
    shutil.copy(READER, str(copied))
    (tmp_path / "tools").symlink_to(os.path.dirname(READER))
    for script in (link, copied):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-X", "dev", str(script), path],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
        )
        assert (done.returncode, done.stderr) == (0, b"")


def stock(*arguments: str) -> Any:
    """What a plain Python, which cannot import mprofile, says of a pickle."""
    code = (
        "import sys, tracemalloc, json; snapshot = tracemalloc.Snapshot.load(sys.argv[1]); "
        "assert 'mprofile' not in sys.modules; "
        "print(json.dumps([type(snapshot).__module__, len(snapshot.traces), snapshot.blocks_per_trace, "
        "[[str(s.traceback), s.size, s.count] for s in snapshot.statistics('lineno')]]))"
    )
    return json.loads(subprocess.check_output([sys.executable, "-I", "-c", code, *arguments]))


def test_pickle_for_stock_tracemalloc(tmp_path: Any) -> None:
    path = save(tmp_path / "a.bin", small(0).bytes())
    target = str(tmp_path / "out.pickle")
    assert read(path, "--pickle", target) == (0, "", "")
    module, traces, times, statistics = stock(target)
    assert (module, traces, times) == ("tracemalloc", 8, 1.0)
    import mprofile

    ours = mprofile.Snapshot.load(path).statistics("lineno")
    assert statistics == [[str(s.traceback), s.size, s.count] for s in ours]
    done = subprocess.run(
        [sys.executable, READER, "--pickle", "-", path, path], stdout=subprocess.PIPE
    )
    with open(target, "rb") as file:
        assert done.returncode == 0 and done.stdout == file.read()


def test_pickle_wrong_usage(tmp_path: Any, path: str) -> None:
    with open(path, "rb") as file:
        whole = file.read()
    for arguments, word in [
        (["--pickle", path, path], "that is a snapshot"),
        (["--pickle", str(tmp_path / "no" / "such"), path], "No such file"),
        (["--pickle", "-", "--json", "-", path], "--json"),
    ]:
        status, out, err = read(*arguments)
        assert (status, out) == (1, "") and word in err and len(err.splitlines()) == 1
    with open(path, "rb") as file:
        assert file.read() == whole


def test_importing_starts_nothing_and_is_light() -> None:
    code = (
        "import sys, typing, __future__; sys.path.insert(0, %r); before = set(sys.modules); import mprofile; "
        "print(set(sys.modules) - before); from mprofile import *; import tracemalloc; "
        "assert not tracemalloc.is_tracing() and issubclass(Snapshot, tracemalloc.Snapshot); "
        "assert all(name in globals() and name in dir(mprofile) for name in mprofile.__all__); "
        "assert not hasattr(mprofile, 'no_such_name')"
    )
    tools = os.path.dirname(READER)
    out = subprocess.check_output([sys.executable, "-S", "-c", code % tools])
    assert out.strip() == b"{'mprofile'}"


def test_json_is_not_written_over_a_snapshot(tmp_path: Any) -> None:
    """`--json *.bin` gives it the first file name."""
    first, second = tmp_path / "a.bin", tmp_path / "b.bin"
    with open(os.path.join(GOLDEN, "sampled.bin"), "rb") as file:
        whole = file.read()
    first.write_bytes(whole)
    second.write_bytes(whole)
    status, out, err = read("--json", str(first), str(second))
    assert (status, out) == (1, "") and "that is a snapshot" in err and err.count("\n") == 1
    assert first.read_bytes() == whole


def test_a_report_that_cannot_be_written_is_one_line() -> None:
    command = [sys.executable, str(READER), os.path.join(GOLDEN, "sampled.bin")]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "cannot write" in done.stderr
    closed = "exec \"$@\" >&-"
    done = subprocess.run(["sh", "-c", closed, "sh", *command], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "closed" in done.stderr


def test_snapshots_of_different_programs_are_not_called_one(tmp_path: Any) -> None:
    one = small(1, exe="/bin/a", pid=1)
    other = small(4096, exe="/bin/b", pid=2, uid="00000000000000b2")
    paths = [save(tmp_path / "a.bin", one.bytes()), save(tmp_path / "b.bin", other.bytes())]
    status, out, _ = read(*paths)
    assert status == 0 and "2 processes of 2 programs" in out
    assert "every allocation, so the figures are exact; one every 4 KiB on average" in " ".join(out.split())
