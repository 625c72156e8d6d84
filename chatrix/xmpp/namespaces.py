"""Every XML namespace the server speaks of, by name: one place to look, one spelling to test."""

# The streams themselves: RFC 6120, RFC 7395, XEP-0114, XEP-0220
NS_STREAM = "http://etherx.jabber.org/streams"
NS_CLIENT = "jabber:client"
NS_SERVER = "jabber:server"
NS_COMPONENT = "jabber:component:accept"
NS_DIALBACK = "jabber:server:dialback"
NS_STREAMS = "urn:ietf:params:xml:ns:xmpp-streams"
NS_STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"
NS_TLS = "urn:ietf:params:xml:ns:xmpp-tls"
NS_SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
NS_BIND = "urn:ietf:params:xml:ns:xmpp-bind"
NS_SESSION = "urn:ietf:params:xml:ns:xmpp-session"
NS_XML = "http://www.w3.org/XML/1998/namespace"

# Stream features
NS_FEATURE_ROSTER_VERSION = "urn:xmpp:features:rosterver"
NS_FEATURE_PRE_APPROVAL = "urn:xmpp:features:pre-approval"
NS_COMPRESS = "http://jabber.org/protocol/compress"
NS_SASL_CHANNEL_BINDING = "urn:xmpp:sasl-cb:0"
NS_STREAM_MANAGEMENT = "urn:xmpp:sm:3"
NS_STREAM_LIMITS = "urn:xmpp:stream-limits:0"
NS_CSI = "urn:xmpp:csi:0"

# Generic extensions: forms, discovery, result sets, commands
NS_DISCO_INFO = "http://jabber.org/protocol/disco#info"
NS_DISCO_ITEMS = "http://jabber.org/protocol/disco#items"
NS_CAPS = "http://jabber.org/protocol/caps"
NS_DATA_FORM = "jabber:x:data"
NS_COMMANDS = "http://jabber.org/protocol/commands"
NS_ADMIN = "http://jabber.org/protocol/admin"
NS_DELAY = "urn:xmpp:delay"
NS_LEGACY_DELAY = "jabber:x:delay"

# Accounts, rosters, presence
NS_ROSTER = "jabber:iq:roster"
NS_AUTH = "jabber:iq:auth"
NS_PRIVATE = "jabber:iq:private"
NS_BLOCKING = "urn:xmpp:blocking"
NS_BLOCKING_ERRORS = "urn:xmpp:blocking:errors"
NS_REPORTING = "urn:xmpp:reporting:1"
NS_LAST = "jabber:iq:last"
NS_VERSION = "jabber:iq:version"
NS_TIME = "urn:xmpp:time"
NS_PING = "urn:xmpp:ping"
NS_SERVERINFO = "http://jabber.org/network/serverinfo"
NS_SOFTWAREINFO = "urn:xmpp:dataforms:softwareinfo"
NS_DELEGATION = "urn:xmpp:delegation:2"
NS_PRIVILEGE = "urn:xmpp:privilege:2"

# vCards and avatars
NS_VCARD_TEMP = "vcard-temp"

# Messages
NS_CHATSTATES = "http://jabber.org/protocol/chatstates"
NS_CARBONS = "urn:xmpp:carbons:2"
NS_HINTS = "urn:xmpp:hints"
NS_STANZA_ID = "urn:xmpp:sid:0"
NS_MAM = "urn:xmpp:mam:2"
NS_MSGOFFLINE = "msgoffline"

# Group chat
NS_MUC_USER = "http://jabber.org/protocol/muc#user"

# The one content namespace at its three doors (RFC 6120 section 4.8.3): inside the server its elements have none.
CONTENT_NAMESPACES = frozenset({NS_CLIENT, NS_SERVER, NS_COMPONENT})
