"""Private XML, on both engines."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from chatrix.store.accounts import Accounts, NoSuchAccount
from chatrix.store.private_xml import PrivateXML, TooMuch
from tests.store.engines import HOSTILE, JULIET, Body, OnPostgres, OnSqlite, another, together


class PrivateXMLBody(Body):
    async def set_up(self) -> None:
        await super().set_up()
        self.private = PrivateXML(self.database)
        await self.create_juliet()

    async def save(self, octets: int = 1000, namespaces: int = 100, **elements: bytes) -> None:
        """Keep something of Juliet's."""
        await self.private.save(JULIET, elements, octets, namespaces)

    async def test_save(self) -> None:
        """Each namespace keeps what came last; others stay as they were."""
        await self.save(a=b"<a/>", b=b"<b/>")
        await self.save(b=b"<c/><d/>")
        self.assertEqual({"a": b"<a/>", "b": b"<c/><d/>"}, await self.private.get(JULIET, ["a", "b", "c", "a"]))
        self.assertEqual({}, await self.private.get(JULIET, ["A"]))

    async def test_hostile_names(self) -> None:
        """A namespace that would change a statement is only a namespace."""
        for text in HOSTILE:
            await self.private.save(JULIET, {text: text.encode()}, 1000, 100)
        expected = {text: text.encode() for text in HOSTILE}
        self.assertEqual(expected, await self.private.get(JULIET, HOSTILE))

    async def test_octets(self) -> None:
        """Too many octets in all: nothing of the request is kept; replacing makes room."""
        await self.save(10, a=b"123456")
        with self.assertRaises(TooMuch):
            await self.save(10, b=b"12", c=b"123")
        self.assertEqual({"a": b"123456"}, await self.private.get(JULIET, "abc"))
        await self.save(10, a=b"1", b=b"123456789")
        self.assertEqual({"a": b"1", "b": b"123456789"}, await self.private.get(JULIET, "abc"))

    async def test_namespaces(self) -> None:
        """Too many namespaces: as above."""
        await self.save(namespaces=2, a=b"", b=b"")
        with self.assertRaises(TooMuch):
            await self.save(namespaces=2, c=b"")
        await self.save(namespaces=2, b=b"1")
        self.assertEqual({"a": b"", "b": b"1"}, await self.private.get(JULIET, "abc"))

    async def test_together(self) -> None:
        """The bound holds when two processes store for one account at once."""
        other = await another(self.url)
        try:
            second = PrivateXML(other)
            results = await together(
                each.save(JULIET, {f"{index}{number}": b"1234"}, 40, 100)
                for index in range(10)
                for number, each in enumerate((self.private, second))
            )
        finally:
            await other.close()
        self.assertEqual(10, results.count(None))
        self.assertEqual(10, sum(isinstance(result, TooMuch) for result in results))

    async def test_no_such_account(self) -> None:
        """Nobody can keep nothing."""
        with self.assertRaises(NoSuchAccount):
            await self.private.save("nobody@example.com", {"a": b""}, 1000, 100)
        self.assertEqual({}, await self.private.get("nobody@example.com", "a"))

    async def test_goes_with_the_account(self) -> None:
        """Whoever gets the name next finds nothing."""
        await self.save(a=b"<a/>")
        await Accounts(self.database).delete("juliet", "example.com")
        await self.create_juliet()
        self.assertEqual({}, await self.private.get(JULIET, "a"))


class SqlitePrivateXMLTests(PrivateXMLBody, OnSqlite, TestCase):
    """On SQLite."""


class PostgresPrivateXMLTests(PrivateXMLBody, OnPostgres, TestCase):
    """On PostgreSQL."""
