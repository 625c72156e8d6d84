"""What clients keep with their account: vCards, private XML, last activity."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def key() -> sa.types.TypeEngine[str]:
    """Text in the order of its code points, on both engines."""
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def of_account() -> sa.Column[str]:
    """What an account owns goes with it."""
    return sa.Column("account", key(), sa.ForeignKey("accounts.account", ondelete="CASCADE"), primary_key=True)


def upgrade() -> None:
    """Create the tables."""
    op.create_table("vcards", of_account(), sa.Column("vcard", sa.LargeBinary, nullable=False))
    op.create_table(
        "private_xml",
        of_account(),
        sa.Column("namespace", key(), primary_key=True),
        sa.Column("elements", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "last_activity",
        of_account(),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("status", sa.LargeBinary, nullable=False),
    )
