"""Block lists, and reports of those who are on them."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def key() -> sa.types.TypeEngine[str]:
    """Text in the order of its code points, on both engines."""
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def of_account() -> sa.Column[str]:
    """What an account owns goes with it."""
    return sa.Column("account", key(), sa.ForeignKey("accounts.account", ondelete="CASCADE"), primary_key=True)


def upgrade() -> None:
    """Create the tables."""
    op.create_table("blocked", of_account(), sa.Column("jid", key(), primary_key=True))
    op.create_table(
        "reports",
        of_account(),
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("jid", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("reported_at", sa.BigInteger, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("stanza_ids", sa.Text, nullable=False),
        sa.Column("to_origin", sa.Boolean, nullable=False),
        sa.Column("to_third_parties", sa.Boolean, nullable=False),
    )
