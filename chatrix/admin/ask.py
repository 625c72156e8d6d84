"""Ask the running server something over its control socket, and wait for the answer: `chatrixctl`'s end of it."""

import contextlib
import json
import socket
from pathlib import Path
from typing import Any

from chatrix.admin.errors import AdminError, NotRunning

_LONGEST_ANSWER = 16 * 1024 * 1024


def ask(path: Path, command: str, timeout: float = 60, **arguments: Any) -> Any:
    """The result of a command; blocks for at most `timeout` seconds between two pieces of the answer.

    Raises: NotRunning when no server is there; AdminError with what the server says against it.
    """
    request = json.dumps({"command": command, "arguments": arguments}).encode() + b"\n"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            raise NotRunning(f"the server is not running (nobody answers on {path})") from None
        except OSError as error:
            raise AdminError(f"{path}: {error.strerror or error}") from None
        # A server that refuses us may close before it has read; its reason is still to be read.
        with contextlib.suppress(OSError):
            connection.sendall(request)
        return _result(_line(connection, path, timeout))


def _line(connection: socket.socket, path: Path, timeout: float) -> bytes:
    answer = bytearray()
    while not answer.endswith(b"\n"):
        try:
            piece = connection.recv(65536)
        except TimeoutError:
            raise AdminError(f"the server gave no answer within {timeout:g} s") from None
        except OSError as error:
            raise AdminError(f"{path}: {error.strerror or error}") from None
        answer += piece
        if not piece or len(answer) > _LONGEST_ANSWER:
            raise AdminError("the server broke off its answer")
    return bytes(answer)


def _result(line: bytes) -> Any:
    try:
        reply = json.loads(line)
        if reply["ok"]:
            return reply["result"]
        reason = str(reply["error"])
    except (ValueError, TypeError, KeyError):
        raise AdminError("the server's answer cannot be understood") from None
    raise AdminError(reason)
