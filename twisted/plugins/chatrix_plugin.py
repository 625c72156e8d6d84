"""Make `twistd chatrix` appear; the server itself is imported only when it is chosen."""

from twisted.application.service import ServiceMaker

chatrix = ServiceMaker("chatrix", "chatrix.tap", "A federated XMPP server.", "chatrix")
