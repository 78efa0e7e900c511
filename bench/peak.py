"""Runs a module's main function and, when it ends, writes its peak resident memory in bytes to file descriptor 3.

python bench/peak.py MODULE ARGUMENT...
"""

import atexit
import importlib
import os
import re
import sys


def write_peak() -> None:
    with open("/proc/self/status", encoding="utf-8") as status:
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read())
    os.write(3, str(int(found.group(1)) * 1024 if found else 0).encode())


atexit.register(write_peak)
module = sys.argv.pop(1)
sys.argv[0] = module
importlib.import_module(module).main()
