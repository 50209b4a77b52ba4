# SPDX-License-Identifier: MIT
"""What `mprofile run` takes for a value of an option is what the library takes for the variable's, word for word."""
from __future__ import annotations

import os
import re
import subprocess
from itertools import zip_longest

import pytest
from harness import environment, package

LONG = "x" * 250 + "/"
VALUES = {
    "--rate": ["0", "1", "128k", "128K", "16M", "1g", "1024g", "1025g", "off", "OFF", "-1", "+1", "1.5k", "k", "", "5 ", "٣", "²",
               "1kk", "00064k", "1099511627776", "1099511627777", "9" * 40, "0x10", "on"],
    "--frames": ["1", "0", "65535", "65536", "008", "1k", "all", "-1", "9" * 5000, "٣"],
    "--memory": ["none", "NONE", "4m", "4095k", "4096k", "4194303", "4194304", "16384g", "16385g", "1k", "0", "off"],
    "--out": ["a.bin", "%p", "%p.%n.%t.%h.%%", "%", "%q", "a%", "sub/", "sub", "/dev/null", "pipe", "file", "missing/x", "a\nb",
              "x" * 2500, LONG * 7, LONG * 8, LONG * 9, "/" + LONG * 8 + "x" * 36, "/" + LONG * 8 + "x" * 37,
              "/" + LONG * 8 + "x" * 38, "%%" * 900, "\udcff.bin"],
    "--signal": ["USR2", "usr1", "SIGUSR1", "sigusr1", "none", "None", "12", "SIG12", "0", "9", "KILL", "SEGV", "11", "32", "33", "34",
                 "64", "65", "99", "012", "RTMIN", "RTMAX", "RTMIN+3", "SIGRTMIN+3", "rtmin+30", "RTMIN+31", "RTMAX-30",
                 "RTMAX-31", "RTMAX-3", "RTMIN-1", "RTMAX+1", "RTMIN+", "RTMIN+3x", "NOSUCH", "SIG", "SIGSIGUSR1", "STKFLT",
                 "POLL", "CLD", "WINCH", "USR2 ", "ŪSR2", "ſIGUSR1", "²", "SIGnone"],
    "--interval": ["30s", "5m", "1h", "0s", "1", "s", "1d", "1.5h", "30S", "87600h", "87601h", "315360000s", "315360001s", "٣s"],
    "--keep": ["1", "1024", "0", "1025", "all", "ALL", "none", "01", "-1"],
}
NAMES = {option: "MPROFILE" + option[2:].upper() for option in VALUES}
PROGRAM = "import os; os.write(1, b'ran')"


@pytest.mark.few
def test_what_run_takes_the_library_takes(python, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "pipe")

    def start(words, **env):
        return subprocess.run([python.path, *words], cwd=tmp_path, env=environment(env, preload=not words[0].startswith("-m")),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)

    for row in zip_longest(*VALUES.values()):
        chosen = {option: value for option, value in zip(VALUES, row) if value is not None}
        said = start(["-c", PROGRAM], **{NAMES[option]: value for option, value in chosen.items()}).stderr
        library = dict(re.findall(r"(MPROFILE[A-Z]+)=.*? makes no sense: expected (.*?); using", os.fsdecode(said), re.S))
        for option, value in chosen.items():
            done = start(["-m", "mprofile", "run", "--signal", "none", option, value, "-c", PROGRAM], PYTHONPATH=str(package()))
            if value and NAMES[option] not in library:
                assert (done.returncode, done.stdout, done.stderr) == (0, b"ran", b""), (option, value)
                continue
            line = os.fsdecode(done.stderr)
            assert (done.returncode, done.stdout) == (1, b"") and line.count("\n") == 1, (option, value, line)
            words = library.get(NAMES[option], "")  # an empty variable is as none; an empty option is a mistake
            assert line.startswith("mprofile: %s" % option) and line.endswith("makes no sense: expected %s\n" % words) or (
                not value), (option, value, line)
