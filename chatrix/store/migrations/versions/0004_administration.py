"""Shared roster groups, announcements and what else admins define."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def key() -> sa.types.TypeEngine[str]:
    """Text in the order of its code points, on both engines."""
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def of_account() -> sa.Column[str]:
    """What an account owns goes with it."""
    return sa.Column("account", key(), sa.ForeignKey("accounts.account", ondelete="CASCADE"), primary_key=True)


def upgrade() -> None:
    """Create the tables; the accounts that are there already are not new any more."""
    op.create_table("account_tiers", of_account(), sa.Column("tier", sa.Text, nullable=False))
    op.create_table(
        "log_ins",
        of_account(),
        sa.Column("first", sa.BigInteger, nullable=False),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.Column("motd", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "announcements",
        sa.Column("host", key(), primary_key=True),
        sa.Column("kind", key(), primary_key=True),
        sa.Column("id", sa.BigInteger, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
    )
    op.create_table(
        "shared_groups",
        sa.Column("host", key(), primary_key=True),
        sa.Column("name", key(), primary_key=True),
    )
    op.create_table(
        "shared_group_members",
        of_account(),
        sa.Column("host", key(), primary_key=True),
        sa.Column("name", key(), primary_key=True),
        sa.ForeignKeyConstraint(["host", "name"], ["shared_groups.host", "shared_groups.name"], ondelete="CASCADE"),
    )
    op.execute('INSERT INTO log_ins (account, "first", "last", motd) SELECT account, 0, 0, 0 FROM accounts')
