"""What users have reported of spam and abuse (XEP-0377), read and put away; what is behind `chatrixctl reports`."""

from chatrix.admin.errors import AdminError
from chatrix.store.blocking import Report, Reports
from chatrix.xmpp.timestamps import timestamp


async def lines(reports: Reports) -> list[str]:
    """A line for each report, what was said of it indented below; the oldest first."""
    found: list[str] = []
    last = 0
    while page := await reports.after(last):
        for report in page:
            found += _told(report)
        last = page[-1].id
    return found or ["nothing is reported"]


def _told(report: Report) -> list[str]:
    reason = report.reason.rpartition(":")[2]
    told = [f"{report.id}  {timestamp(report.reported_at)}  {report.account} reports {report.jid}: {reason}"]
    # A stranger's words on an admin's terminal: no control characters, no second line.
    if report.text:
        told.append(f"    {report.text!r}")
    told += [f"    message {id_!r} by {by!r}" for by, id_ in report.stanza_ids]
    return told


async def put_away(reports: Reports, id_: int) -> str:
    """Forget a report that has been dealt with.

    Raises: AdminError when there is none.
    """
    if not await reports.delete(id_):
        raise AdminError(f"there is no report {id_}")
    return f"put away report {id_}"
