"""Shared roster groups, announcements and what else admins define."""

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the tables."""
