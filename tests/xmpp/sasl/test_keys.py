"""Tests of chatrix.xmpp.sasl.keys: deriving, checking and inventing SCRAM keys."""

import hashlib
from typing import Any, NoReturn

from twisted.trial.unittest import TestCase

from chatrix.xmpp.sasl.keys import (
    DIGEST_OCTETS,
    HASHES,
    Decoys,
    ScramKeys,
    decoy,
    derive,
    derive_all,
    from_salted_password,
    verify,
)
from chatrix.xmpp.sasl.saslprep import InvalidPassword
from tests.xmpp.sasl.scram_client import digest, mac, salted_password

SALT = b"sixteen octets.."


class DeriveTests(TestCase):
    """From a password to keys."""

    def test_against_another_implementation(self) -> None:
        """StoredKey and ServerKey are those of RFC 5802 section 3, for each hash."""
        for name in HASHES:
            keys = derive("pencil", name, SALT, 50)
            salted = salted_password(name, "pencil", SALT, 50)
            self.assertEqual(keys.stored_key, digest(name, mac(name, salted, b"Client Key")))
            self.assertEqual(keys.server_key, mac(name, salted, b"Server Key"))
            self.assertEqual((keys.hash, keys.salt, keys.iterations), (name, SALT, 50))
            self.assertEqual(from_salted_password(name, SALT, 50, salted), keys)

    def test_salted_password_of_the_wrong_length(self) -> None:
        """What cannot have come from the hash is refused."""
        for octets in (0, 31, 33):
            self.assertRaises(ValueError, from_salted_password, "sha-256", SALT, 10_000, bytes(octets))

    def test_prepared(self) -> None:
        """Two spellings of one password have the same keys."""
        self.assertEqual(derive("e\u0301", "sha-256", SALT, 1), derive("\u00e9", "sha-256", SALT, 1))

    def test_refused_before_any_hashing(self) -> None:
        """An empty, a huge or an unpreparable password costs no PBKDF2."""

        def too_late(*arguments: Any) -> NoReturn:
            raise AssertionError("PBKDF2 was called")

        self.patch(hashlib, "pbkdf2_hmac", too_late)
        for password in ("", "x" * 1024, "x" * 1_000_000, "a\0b", "\ud800"):
            self.assertRaises(InvalidPassword, derive, password, "sha-1", SALT, 10_000)
            self.assertRaises(InvalidPassword, derive_all, password)
            self.assertFalse(verify(ScramKeys("sha-1", SALT, 1, bytes(20), bytes(20)), password))

    def test_one_for_each_hash(self) -> None:
        """derive_all() makes keys for each hash, with 10 000 iterations and 16 octets of salt never used before."""
        first, second = derive_all("pencil"), derive_all("pencil")
        self.assertEqual([keys.hash for keys in first], ["sha-512", "sha-256", "sha-1"])
        self.assertEqual({keys.iterations for keys in first}, {10_000})
        salts = {keys.salt for keys in first + second}
        self.assertEqual((len(salts), {len(salt) for salt in salts}), (6, {16}))
        self.assertEqual(first[1], derive("pencil", "sha-256", first[1].salt, 10_000))

    def test_too_few_iterations(self) -> None:
        """New passwords get 10 000 iterations or more; fewer are refused."""
        self.assertRaises(ValueError, derive_all, "pencil", 9_999)
        self.assertEqual(derive_all("pencil", 10_001, ("sha-256",))[0].iterations, 10_001)

    def test_no_keys_in_logs(self) -> None:
        """The representation shows neither key."""
        keys = derive("pencil", "sha-1", SALT, 1)
        self.assertNotIn("stored_key", repr(keys))
        self.assertNotIn("server_key", repr(keys))
        self.assertNotIn("our secret", repr(Decoys(b"our secret", 10_000)))


class VerifyTests(TestCase):
    """From keys and a password to yes or no."""

    def test_verify(self) -> None:
        """Only the password the keys were made from is right, in any spelling of it."""
        for name in HASHES:
            keys = derive("pencil \u00e9", name, SALT, 10)
            self.assertTrue(verify(keys, "pencil\u00a0e\u0301"))
            self.assertFalse(verify(keys, "Pencil \u00e9"))
            self.assertFalse(verify(keys, "pencil \u00e9 "))


class DecoyTests(TestCase):
    """Keys of accounts that do not exist."""

    def test_stable(self) -> None:
        """A name has the same decoy each time it is asked for."""
        self.assertEqual(decoy(b"secret", "nobody", "sha-1", 10_000), decoy(b"secret", "nobody", "sha-1", 10_000))
        self.assertEqual(Decoys(b"secret", 10_000).keys("x", "sha-1"), decoy(b"secret", "x", "sha-1", 10_000))

    def test_depends_on_everything(self) -> None:
        """Another secret, name or hash gives another salt, as with real accounts."""
        salts = {
            decoy(secret, account, name, 10_000).salt
            for secret in (b"one", b"two")
            for account in ("nobody", "somebody")
            for name in HASHES
        }
        self.assertEqual(len(salts), 12)

    def test_looks_real(self) -> None:
        """Salt, iterations and keys have the sizes of real ones."""
        for keys in derive_all("pencil", 12_000):
            fake = decoy(b"secret", "nobody", keys.hash, 12_000)
            self.assertEqual(len(fake.salt), len(keys.salt))
            self.assertEqual(fake.iterations, keys.iterations)
            self.assertEqual(len(fake.stored_key), DIGEST_OCTETS[keys.hash])
            self.assertEqual(len(fake.server_key), len(keys.server_key))
            self.assertEqual(len({fake.salt, fake.stored_key[:16], fake.server_key[:16]}), 3)

    def test_any_name(self) -> None:
        """A name that no account can have gets a decoy as well."""
        for name in ("", "\0", "a@b", "\ud800", "x" * 5000):
            self.assertEqual(len(decoy(b"secret", name, "sha-256", 10_000).salt), 16)
