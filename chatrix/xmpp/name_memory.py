"""Let libxml2 forget the names strangers made it learn.

SECURITY: lxml keeps one dictionary per thread, in which libxml2 stores every element name, attribute name and namespace
it has ever read, for the life of the process: a stranger's every made-up name would cost memory for ever (threats L3
and D6). lxml has no call for it, but makes a new dictionary when the thread has none; trees keep the one they were read
with.
"""

from __future__ import annotations

import ctypes
from typing import Final

_KEY: Final = "_ParserDictionaryContext"
"""Where lxml keeps it in the thread's own dict (lxml's parser.pxi). Should the name change, nothing is forgotten."""


def forget_names() -> None:
    """Drop this thread's dictionary; parsers made before still use it, so make new ones."""
    python = getattr(ctypes, "pythonapi", None)
    if python is None:
        return
    thread_dict = python.PyThreadState_GetDict
    # Borrowed: not py_object, which would count one reference down too many.
    thread_dict.restype = ctypes.c_void_p
    address = thread_dict()
    if address:
        ctypes.cast(address, ctypes.py_object).value.pop(_KEY, None)
