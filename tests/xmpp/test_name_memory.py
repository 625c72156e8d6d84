"""Made-up names are forgotten (threats L3 and D6)."""

from __future__ import annotations

import gc
import os
from pathlib import Path

from twisted.trial.unittest import SkipTest, TestCase

from chatrix.xmpp import element as element_module
from chatrix.xmpp.element import Element, parse, serialise


def resident() -> int:
    """Return the process's resident memory in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class NameMemoryTests(TestCase):
    """libxml2's dictionary."""

    def test_bounded(self) -> None:
        """Sixty megabytes of names that occur once leave less than a third of that behind."""
        if not Path("/proc/self/statm").exists():
            raise SkipTest("resident memory is read from /proc")
        gc.collect()
        before = resident()
        for n in range(60_000):
            parse(b"<a%d%s/>" % (n, b"x" * 1000))
        self.assertLess(resident() - before, 20 << 20)

    def test_trees_of_before(self) -> None:
        """Trees read before and after can be joined, and outlive one another."""
        self.patch(element_module, "_FORGET_AFTER", 50)
        whole = Element("urn:a", "whole")
        for n in range(100):
            part = parse(b"<p%d xmlns='urn:p%d' q%d='%d'><r/></p%d>" % (n, n, n, n, n))
            if n % 2:
                whole.append(part)
            else:
                part.append(whole)
                whole = part
        self.assertEqual(serialise(parse(serialise(whole))), serialise(whole))
        self.assertEqual(sum(1 for _ in whole.iter()), 201)
