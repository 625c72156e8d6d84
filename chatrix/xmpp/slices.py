"""Framing, the careful path: find where a first-level element ends and hold it to every rule (RFC 6120 section 11).

SECURITY: strangers' bytes. Expat is only ever given whole tokens, so a long token that dribbles in is scanned once, not
once per piece (expat before 2.6 scans it anew each time); comments, processing instructions and DTDs never reach it.
Nothing depends on a clock, and an element is found with its last byte.
"""

from __future__ import annotations

import re
from typing import Final

from chatrix.xmpp.errors import StreamError
from chatrix.xmpp.slice_parser import Limits, SliceParser, Surroundings

_QUOTE_OR_END: Final = re.compile(rb"[\"'>]")
_MARKUP: Final = re.compile(rb"<[!?]")
_CDATA: Final = b"<![CDATA["
_TAG_NAME: Final = re.compile(rb"<([^\s<>/&'\"=]+)")


class TagEnd:
    """The search for the `>` of a tag, which goes on where it stopped when more bytes came."""

    __slots__ = ("_position", "_quote")

    def __init__(self, start: int) -> None:
        self._position = start
        self._quote = b""

    def shift(self, by: int) -> None:
        """The buffer lost so many bytes at its front."""
        self._position -= by

    def find(self, buffer: bytes | bytearray, end: int) -> int:
        """Return the index after the `>`, or -1 when it is not among the bytes before `end`."""
        position = self._position
        while True:
            if self._quote:
                position = buffer.find(self._quote, position, end)
                if position < 0:
                    break
                position += 1
                self._quote = b""
            match = _QUOTE_OR_END.search(buffer, position, end)
            if match is None:
                break
            position = match.end()
            if match[0] == b">":
                return position
            self._quote = match[0]
        self._position = end
        return -1


class Slice:
    """One first-level element while it arrives, from the `<` at `start` of the buffer."""

    __slots__ = (
        "_end_tag",
        "_end_tag_scan",
        "_fed",
        "_in_cdata",
        "_last_tag",
        "_limits",
        "_scan",
        "_seen",
        "_surroundings",
        "_tag_end",
        "body",
        "buffer",
        "closes_stream",
        "parser",
        "start",
    )

    def __init__(self, buffer: bytes | bytearray, start: int, surroundings: Surroundings, limits: Limits) -> None:
        self.buffer = buffer
        self.start = start
        self.body = 0
        """Where the start tag has ended; 0 until it has."""
        self.closes_stream = False
        self.parser: SliceParser | None = None
        self._surroundings = surroundings
        self._limits = limits
        self._tag_end = TagEnd(start)
        self._in_cdata = False
        self._fed = self._scan = self._seen = self._end_tag_scan = self._last_tag = start
        self._end_tag = b""

    def keep(self) -> None:
        """Own the bytes from the start on, to wait for more."""
        if isinstance(self.buffer, bytes):
            by = self.start
            self.buffer = bytearray(memoryview(self.buffer)[by:])
            self.start = 0
            self.body -= by if self.body else 0
            self._fed -= by
            self._scan -= by
            self._seen -= by
            self._end_tag_scan -= by
            self._last_tag -= by
            self._tag_end.shift(by)

    def find_end(self) -> int:
        """Return the index after the element's last byte, or -1 when it is still to come.

        Bytes beyond the limit are not looked at, so the verdict is the same however the bytes were split.

        Raises: StreamError.
        """
        buffer, limit = self.buffer, self.start + self._limits.stanza_bytes
        end = min(len(buffer), limit)
        found = self._find_start_tag_end(end) if not self.body else 0
        if not found and self.body:
            found = self._find_end_tag(end)
        if found:
            return found
        if len(buffer) > limit:
            raise StreamError("policy-violation", "stanza too big")
        return -1

    def _find_start_tag_end(self, end: int) -> int:
        buffer, start = self.buffer, self.start
        if end - start > 1 and buffer[start + 1] in b"!?":
            raise StreamError("restricted-xml")
        tag_end = self._tag_end.find(buffer, end)
        if tag_end < 0:
            return 0
        tag = bytes(buffer[start:tag_end])
        if tag[1] == 0x2F:
            if tag[2:-1].rstrip(b" \t\r\n") != self._surroundings.root_name:
                raise StreamError("not-well-formed")
            self.closes_stream = True
            return tag_end
        name = _TAG_NAME.match(tag)
        if name is None:
            raise StreamError("not-well-formed")
        self.parser = SliceParser.in_surroundings(self._surroundings)
        self.parser.begin(self._limits)
        self.parser.feed(tag)
        self.body = self._fed = self._scan = self._seen = self._end_tag_scan = tag_end
        self._end_tag = b"</" + name[1]
        return tag_end if self.parser.depth == 0 else 0

    def _find_end_tag(self, end: int) -> int:
        buffer = self.buffer
        assert self.parser is not None
        while True:
            tag = buffer.find(self._end_tag, self._scan, end)
            if tag < 0:
                self._scan = max(self._scan, end - len(self._end_tag) + 1)
                break
            close = buffer.find(b">", max(tag, self._end_tag_scan), end)
            if close < 0:
                self._scan, self._end_tag_scan = tag, end
                break
            self._scan = close + 1
            self._feed(close + 1)
            if self.parser.depth == 0:
                return close + 1
        last = buffer.rfind(b"<", max(self._fed, self._seen), end)
        self._seen = max(self._seen, end)
        if last > self._fed:
            self._feed(last)
        if not self._in_cdata and buffer[self._fed : self._fed + 1] == b"<":
            self._feed_last_tag(end)
        return 0

    def _feed(self, end: int) -> None:
        """Give expat the bytes up to here, which is where a token ends, unless something forbidden is among them."""
        buffer, position = self.buffer, self._fed
        assert self.parser is not None
        while True:
            if self._in_cdata:
                close = buffer.find(b"]]>", position, end)
                if close < 0:
                    break
                self._in_cdata = False
                position = close + 3
            markup = _MARKUP.search(buffer, position, end)
            if markup is None:
                break
            position = markup.start()
            if not buffer.startswith(_CDATA, position):
                self.parser.feed(buffer[self._fed : position])
                raise StreamError("restricted-xml")
            self._in_cdata = True
            position += len(_CDATA)
        self.parser.feed(buffer[self._fed : end])
        self._fed = end

    def _feed_last_tag(self, end: int) -> None:
        """Let expat see the tag that ends the bytes so far, if it is whole; refuse what may not begin so."""
        tail = bytes(self.buffer[self._fed : min(end, self._fed + len(_CDATA))])
        if _MARKUP.match(tail):
            if not _CDATA.startswith(tail):
                raise StreamError("restricted-xml")
            return
        if self._last_tag != self._fed:
            self._last_tag = self._fed
            self._tag_end = TagEnd(self._fed)
        tag_end = self._tag_end.find(self.buffer, end)
        if tag_end > 0:
            self._feed(tag_end)
