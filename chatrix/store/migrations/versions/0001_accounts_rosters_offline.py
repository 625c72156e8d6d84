"""Accounts with their keys, rosters, subscription requests, offline messages."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def key() -> sa.types.TypeEngine[str]:
    """Text in the order of its code points, on both engines."""
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def of_account() -> sa.Column[str]:
    """What an account owns goes with it."""
    return sa.Column("account", key(), sa.ForeignKey("accounts.account", ondelete="CASCADE"), primary_key=True)


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "accounts",
        sa.Column("account", key(), primary_key=True),
        sa.Column("localpart", key(), nullable=False),
        sa.Column("host", key(), nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("roster_version", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("host", "localpart", name="accounts_by_host"),
    )
    op.create_table(
        "scram_keys",
        of_account(),
        sa.Column("hash", key(), primary_key=True),
        sa.Column("salt", sa.LargeBinary, nullable=False),
        sa.Column("iterations", sa.BigInteger, nullable=False),
        sa.Column("stored_key", sa.LargeBinary, nullable=False),
        sa.Column("server_key", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "roster_items",
        of_account(),
        sa.Column("jid", key(), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("subscription", sa.Text, nullable=False),
        sa.Column("ask", sa.Boolean, nullable=False),
        sa.Column("approved", sa.Boolean, nullable=False),
        sa.Column("groups", sa.Text, nullable=False),
        sa.Column("changed", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "subscription_requests",
        of_account(),
        sa.Column("jid", key(), primary_key=True),
        sa.Column("stanza", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "offline_messages",
        of_account(),
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("stored_at", sa.BigInteger, nullable=False),
        sa.Column("stanza", sa.LargeBinary, nullable=False),
    )
