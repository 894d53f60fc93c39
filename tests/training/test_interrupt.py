"""Signals: the first asks a training to stop, the second ends the process."""

import os
import signal
import subprocess
import sys

from alexnet.training.interrupt import Interrupt

SIGNALED = """
import os, signal, sys, time
from alexnet.training.interrupt import Interrupt
with Interrupt() as interrupt:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.01)
    assert interrupt.signal == signal.SIGINT
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)
"""


def test_a_second_signal_ends_the_process_at_once():
    assert subprocess.run([sys.executable, "-c", SIGNALED]).returncode == 130


def test_a_hangup_is_a_request_to_stop_unless_it_is_ignored():
    with Interrupt() as interrupt:
        os.kill(os.getpid(), signal.SIGHUP)
        assert interrupt.signal == signal.SIGHUP
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupt() as interrupt:
            os.kill(os.getpid(), signal.SIGHUP)
        assert interrupt.signal is None
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
