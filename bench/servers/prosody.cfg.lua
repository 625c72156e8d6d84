-- Prosody, as the Debian package configures it, less its rate limits.
-- prosody.py replaces the @NAMES@.
run_as_root = true
admins = { }
data_path = "@DIR@/data"
pidfile = "@DIR@/prosody.pid"
certificates = "@DIR@"
network_backend = "epoll"

modules_enabled = {
	"disco"; "roster"; "saslauth"; "tls";
	"blocklist"; "bookmarks"; "carbons"; "pep"; "private"; "smacks"; "vcard4"; "vcard_legacy";
	"csi_simple"; "ping"; "time"; "uptime"; "version";
	"posix";
	@MAM_MODULE@
}
modules_disabled = { "s2s" }

interfaces = { "127.0.0.1" }
c2s_ports = { @PORT@ }
c2s_direct_tls_ports = { }
legacy_ssl_ports = { }
s2s_ports = { }
http_ports = { }
https_ports = { }

c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_hashed"
storage = @STORAGE@
sql = { driver = "SQLite3", database = "prosody.sqlite" }
archive_expires_after = "1w"
default_archive_policy = true

ssl = { certificate = "@DIR@/bench.crt"; key = "@DIR@/bench.key" }

log = { { levels = { min = "info" }; to = "file"; filename = "@DIR@/prosody.log" } }

VirtualHost "@DOMAIN@"

Component "conference.@DOMAIN@" "muc"
