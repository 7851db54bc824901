"""How an ordinary user can get real-time priority: with an ambient capability, not with one that is only inheritable."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys

import pytest

TRY = """
import os
os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
"""
ANOTHER = ["setpriv", "--reuid=10001", "--regid=10001", "--clear-groups"]


def takes(*rights: str) -> bool:
    """Whether Python may take the priority as another user. Trueload asks the kernel in the same way
    (bench/process/priority.py)."""
    ran = subprocess.run(
        [*ANOTHER, *rights, sys.executable, "-I", "-c", TRY], capture_output=True, text=True, check=False, cwd="/"
    )
    assert ran.returncode == 0 or "PermissionError" in ran.stderr, ran.stderr
    return ran.returncode == 0


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="only root can start a process as another user, with setpriv",
)
def test_the_remedy_of_the_message_works_and_a_capability_that_is_not_ambient_does_not() -> None:
    try:
        allowed = takes("--inh-caps=+sys_nice", "--ambient-caps=+sys_nice")
    except AssertionError as e:
        pytest.skip(f"another user cannot start this Python, or root lacks the capability: {e}")
    assert allowed
    if resource.getrlimit(resource.RLIMIT_RTPRIO)[0] == 0:
        assert not takes("--inh-caps=+sys_nice")
