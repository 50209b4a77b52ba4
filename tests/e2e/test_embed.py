# SPDX-License-Identifier: MIT
"""Python inside a C program: linked with libpython, or loaded with dlopen and RTLD_LOCAL; and a second time.

With RTLD_LOCAL nothing of libpython is in the global scope: the library finds it by who calls
setlocale. Py_Finalize and Py_Initialize again reset the allocators from 3.12 on. The programs are
compiled here against each interpreter's own shared library; where there is none (Debian's 3.13 to 3.15
without libpython3.N, free-threaded static builds) the test is skipped aloud.
"""
from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from harness import Python, RawFile, marks

SCRIPT = """\
import sys
def embedded():
    return [bytes(1000) for _ in range(3000)]  # @kept
kept = embedded()
"""
# Without headers: the handful of functions that never changed since 3.8.
COMMON = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

static char *slurp(const char *path)
{
	static char text[65536];
	FILE *file = fopen(path, "r");
	size_t got = file ? fread(text, 1, sizeof(text) - 1, file) : 0;

	text[got] = 0;
	if (file)
		fclose(file);
	return text;
}

static char wrapped[140000];

/* So that frames carry the script's name, in every version: compile by hand. */
static const char *script(const char *path)
{
	(void)slurp;
	snprintf(wrapped, sizeof(wrapped),
		 "path = r'''%s'''\nexec(compile(open(path).read(), path, 'exec'), globals())\n", path);
	return wrapped;
}

static void wait_here(void)
{
	char line[16];

	puts("ready");
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		exit(3);
}
"""
LINKED = COMMON + r"""
void Py_InitializeEx(int);
int Py_FinalizeEx(void);
int PyRun_SimpleString(const char *);

int main(int argc, char **argv)
{
	int turns = atoi(argv[2]);

	(void)argc;
	for (int turn = 0; turn < turns; turn++) {
		Py_InitializeEx(0);
		if (PyRun_SimpleString(script(argv[1])) != 0)
			return 4;
		wait_here();
		if (Py_FinalizeEx() != 0)
			return 5;
	}
	puts("done");
	return 6;
}
"""
LOADED = COMMON + r"""
#include <dlfcn.h>

int main(int argc, char **argv)
{
	int turns = atoi(argv[2]);
	void *python = dlopen(argv[3], RTLD_NOW | RTLD_LOCAL);
	void (*initialize)(int);
	int (*finalize)(void);
	int (*run)(const char *);

	(void)argc;
	if (!python) {
		fprintf(stderr, "%s\n", dlerror());
		return 7;
	}
	*(void **)&initialize = dlsym(python, "Py_InitializeEx");
	*(void **)&finalize = dlsym(python, "Py_FinalizeEx");
	*(void **)&run = dlsym(python, "PyRun_SimpleString");
	for (int turn = 0; turn < turns; turn++) {
		initialize(0);
		if (run(script(argv[1])) != 0)
			return 4;
		wait_here();
		if (finalize() != 0)
			return 5;
	}
	puts("done");
	return 6;
}
"""


def build(python: Python, folder: Path, source: str, link: bool) -> Path:
    """Compile for an interpreter; with the C library that it was itself unpacked with, if it was."""
    library = python.facts["shared_library"]
    if library is None:
        pytest.skip("%s has no shared library" % python.name)
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    (folder / "embed.c").write_text(source)
    command = ["cc", "-O1", "-o", str(folder / "embed"), str(folder / "embed.c"), "-ldl"]
    triplet = "%s-linux-gnu" % os.uname().machine
    own = Path(python.path).parents[2] / "sysroot" / "usr" / "lib" / triplet
    paths = [os.path.dirname(library)]
    if own.exists():
        (loader,) = own.glob("ld-linux-*")
        command.append("-Wl,--dynamic-linker=%s" % loader)
        paths.append(str(own))
    if link:
        command += [library, "-Wl,--allow-shlib-undefined"]
    command.append("-Wl,--disable-new-dtags,-rpath," + ":".join(paths))
    subprocess.run(command, check=True)
    return folder / "embed"


@pytest.mark.parametrize("allocator", ["", "debug"])
@pytest.mark.parametrize("how", ["linked", "dlopen"])
def test_embedded_twice(python, run, tmp_path, how, allocator):
    program_path = build(python, tmp_path, LINKED if how == "linked" else LOADED, how == "linked")
    script = tmp_path / "embedded.py"
    script.write_text(SCRIPT)
    env = {"MPROFILERATE": "4k", "PYTHONHOME": python.facts["prefix"]}
    if allocator:
        env["PYTHONMALLOC"] = allocator
    turns = 2
    alone = subprocess.run([str(program_path), str(script), str(turns), python.facts["shared_library"]],
                           input=b"\n" * turns, env={**os.environ, **{k: v for k, v in env.items()
                                                                      if k.startswith("PYTHON")}},
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if alone.returncode != 6:
        pytest.skip("does not run without us either: %s" % alone.stderr.decode()[-300:])
    program = run(argv=[program_path, script, str(turns), python.facts["shared_library"]], env=env)
    line = marks(SCRIPT)["kept"]
    for turn in range(turns):
        program.ready()
        raw = RawFile(program.dump(turn + 1))
        kept = [one for one in raw.live if one.stack and one.stack[0].line == line
                and one.stack[0].file == str(script)]
        total = sum(one.weight * one.size for one in kept)
        assert total == pytest.approx(3000 * 1033, rel=0.3), "turn %d" % turn
        names = [frame.name for frame in kept[0].stack]
        assert "embedded" in names and "<module>" in names
        assert raw.head["python"].startswith(python.version)
        program.say("")
    assert program.line() == "done"
    assert program.finish() == 6 and program.stderr == alone.stderr.decode()
