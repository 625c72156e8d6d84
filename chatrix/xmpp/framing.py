"""Framing: bytes in, stanzas out (RFC 6120 section 4).

SECURITY: talks to strangers before they log in. Trusts nothing, bounds everything (`Limits`), and gives the same
frames and the same error however the bytes are split.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from chatrix.xmpp.common_path import whole_leaf, whole_stanza
from chatrix.xmpp.element import Element, parse, serialise
from chatrix.xmpp.errors import StreamError
from chatrix.xmpp.slice_parser import LONGEST_NAME, STANZA_NAMES, Limits, SliceParser, Surroundings
from chatrix.xmpp.slices import Slice
from chatrix.xmpp.stanza import Stanza, from_tree, make
from chatrix.xmpp.stream_header import StreamHeader, StreamOpened, usual_header

__all__ = ["BEFORE_LOG_IN", "Frame", "Framer", "Limits", "StreamClosed", "StreamOpened"]

BEFORE_LOG_IN: Final = Limits(stanza_bytes=8192, elements=32, depth=64, attributes=64)

_SPACE: Final = re.compile(rb"[ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class StreamClosed:
    """The peer closed the stream; what it sends after that is ignored."""


Frame = StreamOpened | Stanza | Element | StreamClosed


class Framer:
    """One direction of one stream.

    Between two elements it holds neither parser nor buffer.
    """

    __slots__ = (
        "_careful_only",
        "_closed",
        "_header",
        "_slice",
        "_surroundings",
        "content_namespace",
        "limits",
        "whitespace",
    )

    def __init__(self, content_namespace: str, limits: Limits = BEFORE_LOG_IN, *, _careful_only: bool = False) -> None:
        self.content_namespace = content_namespace
        self.limits = limits
        """Replace it after log-in; an element that has begun to arrive keeps the old ones."""
        self.whitespace = 0
        """Bytes of white space between elements so far: keep-alives."""
        self._careful_only = _careful_only
        self._closed = False
        self._slice: Slice | None = None
        self._surroundings: Surroundings | None = None
        self._header: StreamHeader | None = None

    def reset(self) -> None:
        """Expect a new stream header, with its own XML declaration; an unfinished element is thrown away.

        Source: RFC 6120 section 4.3.3.
        """
        self._drop()
        self._closed = False
        self._surroundings = None

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that these bytes complete.

        Raises: StreamError, with the frames that came before in `frames`. After that everything is ignored.
        """
        frames: list[Frame] = []
        try:
            self._feed(data, frames)
        except StreamError as error:
            self._close()
            error.frames = list(frames)
            raise
        return frames

    def _feed(self, data: bytes, frames: list[Frame]) -> None:
        if self._surroundings is None:
            data = self._open(data, frames)
        surroundings = self._surroundings
        if surroundings is None:
            return
        position = 0
        if self._slice is not None:
            buffer = self._slice.buffer
            assert isinstance(buffer, bytearray)
            buffer += data
            position = self._finish(self._slice, frames)
            if position < 0 or self._closed:
                return
            data = bytes(memoryview(buffer)[position:])
            position = 0
        length = len(data)
        common = surroundings.default_namespace == self.content_namespace and not self._careful_only
        while position < length:
            if data[position] != 0x3C:
                position = self._skip_space(data, position)
                continue
            if common:
                found: tuple[Frame, int] | None
                found = whole_stanza(data, position, self.content_namespace, self.limits)
                if found is None:
                    found = whole_leaf(data, position, self.limits)
                if found is not None:
                    frames.append(found[0])
                    position = found[1]
                    continue
            slice_ = Slice(data, position, surroundings, self.limits)
            position = self._finish(slice_, frames)
            if position < 0 or self._closed:
                return

    def _open(self, data: bytes, frames: list[Frame]) -> bytes:
        """Take in the stream header; return the bytes after it."""
        if self._closed or not data:
            return b""
        if self._header is None:
            usual = None if self._careful_only else usual_header(data, self.content_namespace, self.limits)
            if usual is not None:
                frames.append(usual[0])
                self._surroundings = usual[1]
                return data[usual[2] :]
            self._header = StreamHeader(self.content_namespace, self.limits)
        opened = self._header.feed(data)
        if opened is None:
            return b""
        frames.append(opened[0])
        header, self._header = self._header, None
        self._surroundings = header.surroundings
        if header.closed:
            frames.append(StreamClosed())
            self._close()
        return opened[1]

    def _skip_space(self, data: bytes, position: int) -> int:
        space = _SPACE.match(data, position)
        end = space.end() if space else position
        self.whitespace += end - position
        if end < len(data) and data[end] != 0x3C:
            # No text belongs between elements; these bytes cannot even begin a character of XML.
            byte = data[end]
            impossible = byte < 0x20 or 0x80 <= byte < 0xC2 or byte > 0xF4
            raise StreamError("not-well-formed" if impossible else "bad-format")
        return end

    def _finish(self, slice_: Slice, frames: list[Frame]) -> int:
        """Append the frame if the slice is complete and return the index after it; else keep the slice, return -1."""
        try:
            end = slice_.find_end()
        except StreamError:
            if slice_.parser is not None:
                slice_.parser.discard()
            raise
        if end < 0:
            slice_.keep()
            self._slice = slice_
            return -1
        self._slice = None
        if slice_.closes_stream:
            self._close()
            frames.append(StreamClosed())
            return end
        parser = slice_.parser
        assert parser is not None
        frames.append(self._frame(slice_, parser, end))
        parser.release()
        return end

    def _frame(self, slice_: Slice, parser: SliceParser, end: int) -> Frame:
        raw = bytes(slice_.buffer[slice_.start : end])
        stanza = parser.namespace == self.content_namespace and parser.name in STANZA_NAMES
        try:
            if parser.rewrite or len(raw) > LONGEST_NAME:
                element = self._in_surroundings(raw)
                if stanza:
                    return from_tree(element, self.content_namespace)
                return parse(serialise(element, self.content_namespace))
            if not stanza:
                return parse(raw)
        except ValueError as error:
            raise StreamError("bad-format") from error
        inner = raw[slice_.body - slice_.start :]
        return make(parser.name, parser.attributes, inner)

    def _in_surroundings(self, raw: bytes) -> Element:
        assert self._surroundings is not None
        return parse(self._surroundings.root + raw + b"</_>")[0]  # type: ignore[return-value]

    def _close(self) -> None:
        self._drop()
        self._closed = True
        self._surroundings = None

    def _drop(self) -> None:
        if self._slice is not None and self._slice.parser is not None:
            self._slice.parser.discard()
        self._slice = None
        self._header = None
