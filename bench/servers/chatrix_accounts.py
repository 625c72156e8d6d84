"""Make the accounts of a chatrix that is not running; a program, with INI DOMAIN PREFIX COUNT PASSWORD as arguments.

All in one transaction and with one set of keys, derived once: thousands of accounts in a second.
"""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from chatrix.config.load import load
from chatrix.store.accounts import insert_account, insert_keys
from chatrix.store.database import open_database
from chatrix.store.ids import microseconds
from chatrix.store.migrate import migrate
from chatrix.xmpp.sasl.keys import derive_all


async def make(reactor: Any, database: str, state: str, domain: str, names: list[str], password: str) -> None:
    """Write the accounts into tables that are there."""
    created = microseconds()
    keys = [asdict(key) for key in derive_all(password)]
    accounts = [
        {"account": f"{name}@{domain}", "localpart": name, "host": domain, "created": created}
        | {"disabled": False, "roster_version": 0}
        for name in names
    ]
    opened = open_database(database, state, reactor)
    await opened.open()
    try:
        async with opened.transaction() as transaction:
            await transaction.execute_many(insert_account, accounts)
            await transaction.execute_many(
                insert_keys, [{"account": each["account"], **key} for each in accounts for key in keys]
            )
    finally:
        await opened.close()


def main(reactor: Any) -> Deferred[None]:
    """The command."""
    ini, domain, prefix, count, password = sys.argv[1:]
    options = load(Path(ini)).chatrix
    migrate(options.database, str(options.state))
    names = [f"{prefix}{number}" for number in range(int(count))]
    return Deferred.fromCoroutine(make(reactor, options.database, str(options.state), domain, names, password))


if __name__ == "__main__":
    react(main)
