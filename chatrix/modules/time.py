"""XEP-0202: Entity Time, version 2.0."""

from __future__ import annotations

import time

from chatrix.api import IQ, Element, Module, Target, iq
from chatrix.xmpp.namespaces import NS_TIME
from chatrix.xmpp.timestamps import timestamp


class Time(Module):
    """Tell the time, in UTC: where the server stands is nobody's business."""

    features = (NS_TIME,)

    @iq("get", (NS_TIME, "time"), to=Target.HOST)
    def tell(self, request: IQ) -> Element:
        """Answer with the time."""
        answer = Element(NS_TIME, "time")
        answer.add(NS_TIME, "tzo", text="+00:00")
        answer.add(NS_TIME, "utc", text=timestamp(time.time_ns() // 1000))
        return answer
