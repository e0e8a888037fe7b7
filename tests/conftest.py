"""What holds for every test: how they were started must not judge the code."""

from __future__ import annotations

import signal

# what runs under nohup or in a shell's background ignores some signals, and its children with it
for _number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)
