"""[tier NAME]: what accounts of a tier may use, where that is not what everybody may."""

from dataclasses import dataclass

from chatrix.config.options import option
from chatrix.config.values import KIB, Size


@dataclass(frozen=True, kw_only=True)
class TierOptions:
    """The limits of the accounts that `chatrixctl user tier` has put into this tier; none: as for everybody else."""

    offline_messages: int | None = option(
        None, doc="Messages kept for one account that is away.", minimum=0, restart=False
    )
    sessions: int | None = option(
        None, doc="Clients of one account at the same time.", minimum=1, maximum=1000, restart=False
    )
    roster_items: int | None = option(None, doc="Contacts in one roster.", minimum=1, restart=False)
    storage: Size | None = option(
        None, doc="What the clients of one account keep in private XML.", minimum=KIB, restart=False
    )
