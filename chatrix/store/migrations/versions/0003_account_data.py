"""What clients keep with their account: vCards, private XML, last activity."""

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the tables."""
