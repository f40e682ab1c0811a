"""Starts coverage in a guest, before any of its code; the environment says where the data goes."""

import coverage

coverage.process_startup()
