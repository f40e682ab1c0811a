"""Starts coverage in a guest, before any of its code; the environment says where the data goes."""

import coverage
from coverage.inorout import InOrOut

coverage.process_startup()
# Whenever sys.path has changed, as it does while an agent loads, coverage 7 looks its sources up again and then drops
# every module that was imported meanwhile: in a process with threads also those that another one is importing.
InOrOut.set_matchers_depending_on_syspath = lambda self: None  # type: ignore[method-assign]  # the seam itself
