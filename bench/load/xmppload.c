/* xmppload: a generic, single-threaded XMPP client-side load generator.
 *
 * One epoll loop drives every simulated client; OpenSSL does TLS and the
 * SCRAM primitives.  The stream is split into stanzas by a small scanner that
 * only counts tags (quotes, CDATA and self-closing tags understood), so any
 * RFC 6120 server should do.  See README.md for the modes and the options.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#define RDCAP (2u << 20)
#define MAXPID 16

typedef uint64_t u64;
typedef uint32_t u32;

/* ------------------------------------------------------------- options */

static struct {
	const char *mode, *host, *domain, *prefix, *password, *mech, *muc, *room, *tag, *ciphers;
	int port, first, n, tls, tls12, conc, pairs, window, occupants, senders, degree;
	int full_jid, receipts, sm, bidi, body, batch, no_roster;
	double rate, duration, warmup, settle, login_timeout, drain;
	int pids[MAXPID], npid;
} o = {
	.host = "127.0.0.1", .port = 5222, .domain = "bench.localhost", .prefix = "u",
	.password = "secret", .mech = "SCRAM-SHA-1", .room = NULL, .tag = "",
	.n = 0, .conc = 32, .pairs = 50, .window = 4, .occupants = 100, .senders = 1,
	.body = 120, .rate = 0, .duration = 10, .warmup = 2, .settle = 3, .degree = 10,
	.login_timeout = 60, .drain = 5,
};

/* ------------------------------------------------------------- clients */

enum { S_IDLE, S_CONN, S_HS, S_FEAT, S_TLS, S_AUTH, S_BIND, S_SESS, S_SM, S_PRES, S_ON, S_CLOSE, S_DEAD };
static const char *stname[] = { "idle", "connect", "tls-handshake", "features", "starttls", "auth",
	"bind", "session", "sm-enable", "roster/presence", "online", "closing", "dead" };
enum { P_TEXT, P_TAG };

struct scram {
	char nonce[32], first_bare[320];
	unsigned char server_sig[EVP_MAX_MD_SIZE];
	unsigned siglen;
	int final_sent, verified;
};

struct cl {
	int fd, idx;
	SSL *ssl;
	uint8_t st, ps, q, tls_on, auth_done, want_out, need_session, has_sm, got_roster, got_pres, reset, sm_on, dirty, roomed;
	int depth;
	char *left;
	u32 inlen, scan, tag, sstart;
	char *out;
	u32 outlen, outoff, outcap;
	struct scram *sc;
	char *jid, *bare;
	u64 t0;
	u32 sm_h;
	/* messaging */
	u32 seq, maxseen, inflight, partner;
	u64 sent, uniq;
	u64 *bits;
	u32 nbits;
	uint16_t *copies; /* muc: copies seen of each in-flight message */
	u32 copies_cap;
};

static struct cl *C;
static int NC;
static int epfd, tfd = -1;
static SSL_CTX *ctx;
static struct sockaddr_storage sa;
static socklen_t salen;
static char *rd;
static u32 run_id;

static u64 n_err, n_fail, n_disc, n_stanza_err, n_inprog, n_online, n_churned;
static int timer_fired;

static u64 now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void die(const char *f, ...)
{
	va_list a;
	va_start(a, f);
	fprintf(stderr, "xmppload: ");
	vfprintf(stderr, f, a);
	fprintf(stderr, "\n");
	va_end(a);
	exit(2);
}

static void *xrealloc(void *p, size_t n)
{
	p = realloc(p, n);
	if (!p) die("out of memory");
	return p;
}

/* ----------------------------------------------------------- histogram */
/* log-linear: 64 sub-buckets per power of two, in ns */

struct hist { u64 n, max; double sum; u64 b[64 * 44]; };
static struct hist H, HL;

static void h_add(struct hist *h, u64 v)
{
	unsigned i;
	if (v < 64) i = v;
	else {
		int e = 63 - __builtin_clzll(v);
		i = (e - 5) * 64 + ((v >> (e - 6)) & 63);
	}
	if (i >= sizeof h->b / sizeof *h->b) i = sizeof h->b / sizeof *h->b - 1;
	h->b[i]++;
	h->n++;
	h->sum += v;
	if (v > h->max) h->max = v;
}

static double h_pct(struct hist *h, double p) /* in ms */
{
	if (!h->n) return 0;
	u64 want = (u64)(h->n * p / 100.0), acc = 0;
	if (want >= h->n) want = h->n - 1;
	for (unsigned i = 0; i < sizeof h->b / sizeof *h->b; i++) {
		acc += h->b[i];
		if (acc > want) {
			double v;
			if (i < 64) v = i;
			else {
				int e = i / 64 + 5;
				v = (double)((u64)(64 + (i & 63)) << (e - 6)) * (1 + 0.5 / 64);
			}
			return v / 1e6;
		}
	}
	return h->max / 1e6;
}

/* -------------------------------------------------- server CPU, memory */

struct sample {
	u64 t;
	double cpu, user, sys, self;
	long pss, rss;
	int nproc, nthr;
};

static int in_tree(int pid, int *ppid, int max)
{
	for (int hops = 0; pid > 1 && pid < max && hops < 64; hops++) {
		for (int i = 0; i < o.npid; i++) if (o.pids[i] == pid) return 1;
		pid = ppid[pid];
	}
	return 0;
}

static long rollup(int pid, const char *key)
{
	char path[64], line[256];
	long v = 0;
	snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
	FILE *f = fopen(path, "r");
	if (!f) return 0;
	size_t k = strlen(key);
	while (fgets(line, sizeof line, f)) if (!strncmp(line, key, k)) { v = atol(line + k); break; }
	fclose(f);
	return v;
}

static void sample(struct sample *s, int mem)
{
	static int *ppid, cap;
	static struct { int pid; unsigned long u, s; int thr; } st[65536];
	int ns = 0, maxpid = 0;
	memset(s, 0, sizeof *s);
	s->t = now_ns();
	struct rusage ru;
	getrusage(RUSAGE_SELF, &ru);
	s->self = ru.ru_utime.tv_sec + ru.ru_stime.tv_sec + (ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6;
	if (!o.npid) return;
	DIR *d = opendir("/proc");
	if (!d) return;
	struct dirent *e;
	while ((e = readdir(d))) {
		if (!isdigit((unsigned char)e->d_name[0])) continue;
		int pid = atoi(e->d_name);
		char path[64], buf[1024];
		snprintf(path, sizeof path, "/proc/%d/stat", pid);
		int fd = open(path, O_RDONLY);
		if (fd < 0) continue;
		int n = read(fd, buf, sizeof buf - 1);
		close(fd);
		if (n <= 0) continue;
		buf[n] = 0;
		char *p = strrchr(buf, ')');
		int pp, thr;
		unsigned long ut, stt;
		long cut, cst;
		if (!p || sscanf(p + 2, "%*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %ld %ld %*d %*d %d",
			&pp, &ut, &stt, &cut, &cst, &thr) != 6) continue;
		if (pid >= cap) {
			int nc = pid + 4096;
			ppid = xrealloc(ppid, nc * sizeof *ppid);
			memset(ppid + cap, 0, (nc - cap) * sizeof *ppid);
			cap = nc;
		}
		ppid[pid] = pp;
		if (pid > maxpid) maxpid = pid;
		if (ns < 65536) {
			st[ns].pid = pid;
			st[ns].u = ut + cut;
			st[ns].s = stt + cst;
			st[ns++].thr = thr;
		}
	}
	closedir(d);
	double hz = sysconf(_SC_CLK_TCK);
	for (int i = 0; i < ns; i++) if (in_tree(st[i].pid, ppid, cap)) {
		s->user += st[i].u / hz;
		s->sys += st[i].s / hz;
		s->nproc++;
		s->nthr += st[i].thr;
		if (mem) {
			s->pss += rollup(st[i].pid, "Pss:");
			s->rss += rollup(st[i].pid, "Rss:");
		}
	}
	s->cpu = s->user + s->sys;
}

/* -------------------------------------------------------------- output */

static void fail(struct cl *c, const char *f, ...)
{
	if (n_err++ < 8) {
		va_list a;
		va_start(a, f);
		fprintf(stderr, "client %s%d (%s): ", o.prefix, o.first + c->idx, stname[c->st]);
		vfprintf(stderr, f, a);
		fprintf(stderr, "\n");
		va_end(a);
	}
	if (c->st == S_ON) { n_online--; n_disc++; }
	else if (c->st != S_CLOSE && c->st != S_DEAD && c->st != S_IDLE) { n_inprog--; n_fail++; }
	c->st = S_DEAD;
	if (c->ssl) { SSL_free(c->ssl); c->ssl = NULL; }
	if (c->fd >= 0) { close(c->fd); c->fd = -1; }
}

static void shut(struct cl *c) /* quiet close */
{
	if (c->ssl) { SSL_free(c->ssl); c->ssl = NULL; }
	if (c->fd >= 0) { close(c->fd); c->fd = -1; }
	if (c->st == S_CLOSE) n_churned++;
	c->st = S_DEAD;
	free(c->left); c->left = NULL; c->inlen = 0;
	free(c->out); c->out = NULL; c->outlen = c->outoff = c->outcap = 0;
}

static void epmod(struct cl *c, int out)
{
	if (c->want_out == out) return;
	c->want_out = out;
	struct epoll_event ev = { .events = EPOLLIN | (out ? EPOLLOUT : 0), .data.u32 = c->idx };
	epoll_ctl(epfd, EPOLL_CTL_MOD, c->fd, &ev);
}

static void flush_out(struct cl *c)
{
	while (c->fd >= 0 && c->outoff < c->outlen) {
		int n;
		if (c->tls_on) {
			ERR_clear_error();
			n = SSL_write(c->ssl, c->out + c->outoff, c->outlen - c->outoff);
			if (n <= 0) {
				int e = SSL_get_error(c->ssl, n);
				if (e == SSL_ERROR_WANT_WRITE || e == SSL_ERROR_WANT_READ) { epmod(c, 1); return; }
				fail(c, "TLS write error");
				return;
			}
		} else {
			n = write(c->fd, c->out + c->outoff, c->outlen - c->outoff);
			if (n < 0) {
				if (errno == EAGAIN) { epmod(c, 1); return; }
				fail(c, "write: %s", strerror(errno));
				return;
			}
		}
		c->outoff += n;
	}
	c->outoff = c->outlen = 0;
	if (c->fd >= 0) epmod(c, 0);
	if (c->outcap > 65536) { free(c->out); c->out = NULL; c->outcap = 0; }
}

static u32 *dirty;
static int ndirty;

static void put(struct cl *c, const char *b, u32 n)
{
	if (c->fd < 0) return;
	if (c->outlen + n > c->outcap) {
		c->outcap = (c->outlen + n) * 2 < 512 ? 512 : (c->outlen + n) * 2;
		c->out = xrealloc(c->out, c->outcap);
	}
	memcpy(c->out + c->outlen, b, n);
	c->outlen += n;
	if (o.batch) {
		if (!c->dirty) { c->dirty = 1; dirty[ndirty++] = c->idx; }
	} else flush_out(c);
}

static void putf(struct cl *c, const char *f, ...) __attribute__((format(printf, 2, 3)));
static void putf(struct cl *c, const char *f, ...)
{
	char b[8192];
	va_list a;
	va_start(a, f);
	int n = vsnprintf(b, sizeof b, f, a);
	va_end(a);
	if (n >= (int)sizeof b) die("stanza too long");
	put(c, b, n);
}

/* ------------------------------------------------- tiny stanza scanning */

static int isdelim(int ch) { return ch == ' ' || ch == '\t' || ch == '\r' || ch == '\n' || ch == '/' || ch == '>'; }

/* local name of the tag at s ('<' first); returns its length */
static int lname(const char *s, const char *e, const char **name)
{
	const char *p = s + 1, *b;
	if (p < e && *p == '/') p++;
	b = p;
	while (p < e && !isdelim(*p)) { if (*p == ':') b = p + 1; p++; }
	*name = b;
	return p - b;
}

static int tag_is(const char *s, const char *e, const char *nm)
{
	const char *b;
	int n = lname(s, e, &b);
	return n == (int)strlen(nm) && !memcmp(b, nm, n);
}

/* value of attribute nm in the tag starting at s */
static int attr(const char *s, const char *e, const char *nm, char *out, int cap)
{
	const char *p = s + 1;
	int nl = strlen(nm);
	out[0] = 0;
	while (p < e && !isdelim(*p)) p++;
	for (;;) {
		while (p < e && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n')) p++;
		if (p >= e || *p == '>' || *p == '/') return 0;
		const char *b = p;
		while (p < e && *p != '=' && !isdelim(*p)) p++;
		int bl = p - b;
		while (p < e && *p != '"' && *p != '\'') { if (*p == '>') return 0; p++; }
		if (p >= e) return 0;
		char q = *p++;
		const char *v = p;
		p = memchr(p, q, e - p);
		if (!p) return 0;
		if (bl == nl && !memcmp(b, nm, nl)) {
			int l = p - v;
			if (l >= cap) l = cap - 1;
			memcpy(out, v, l);
			out[l] = 0;
			return 1;
		}
		p++;
	}
}

static const char *find(const char *s, const char *e, const char *nm)
{
	for (const char *p = s; p < e && (p = memchr(p, '<', e - p)); p++)
		if (p + 1 < e && p[1] != '/' && tag_is(p, e, nm)) return p;
	return NULL;
}

/* text directly inside the element at s; whitespace dropped */
static int text(const char *s, const char *e, char *out, int cap)
{
	char q = 0;
	const char *p = s;
	int n = 0;
	out[0] = 0;
	for (; p < e; p++) {
		if (q) { if (*p == q) q = 0; }
		else if (*p == '"' || *p == '\'') q = *p;
		else if (*p == '>') break;
	}
	if (p >= e || p[-1] == '/') return 0;
	for (p++; p < e && *p != '<' && n < cap - 1; p++) if (!isspace((unsigned char)*p)) out[n++] = *p;
	out[n] = 0;
	return n;
}

static int b64e(const void *in, int n, char *out) { return EVP_EncodeBlock((unsigned char *)out, in, n); }
static int b64d(const char *in, int n, unsigned char *out)
{
	int r = EVP_DecodeBlock(out, (const unsigned char *)in, n);
	if (r < 0) return -1;
	while (n > 0 && in[n - 1] == '=') { r--; n--; }
	return r;
}

/* --------------------------------------------------------------- login */

static void send_header(struct cl *c)
{
	c->st = S_FEAT;
	putf(c, "<?xml version='1.0'?><stream:stream to='%s' version='1.0' xml:lang='en' xmlns='jabber:client' "
		"xmlns:stream='http://etherx.jabber.org/streams'>", o.domain);
}

static const EVP_MD *scram_md(void)
{
	if (!strcmp(o.mech, "SCRAM-SHA-1")) return EVP_sha1();
	if (!strcmp(o.mech, "SCRAM-SHA-256")) return EVP_sha256();
	if (!strcmp(o.mech, "SCRAM-SHA-512")) return EVP_sha512();
	return NULL;
}

static void send_auth(struct cl *c)
{
	char b[1024], e[1400];
	int n;
	if (!strcmp(o.mech, "PLAIN")) {
		n = snprintf(b, sizeof b, "%c%s%d%c%s", 0, o.prefix, o.first + c->idx, 0, o.password);
	} else {
		unsigned char r[18];
		RAND_bytes(r, sizeof r);
		c->sc = calloc(1, sizeof *c->sc);
		b64e(r, sizeof r, c->sc->nonce);
		snprintf(c->sc->first_bare, sizeof c->sc->first_bare, "n=%s%d,r=%s", o.prefix, o.first + c->idx, c->sc->nonce);
		n = snprintf(b, sizeof b, "n,,%s", c->sc->first_bare);
	}
	b64e(b, n, e);
	c->st = S_AUTH;
	putf(c, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='%s'>%s</auth>", o.mech, e);
}

/* one remembered PBKDF2 result: accounts that share a salt cost it once */
static const unsigned char *salted(const EVP_MD *md, const unsigned char *salt, int sl, int it)
{
	static struct { unsigned char salt[256], key[EVP_MAX_MD_SIZE]; int sl, it; } cache[64];
	static int at;
	for (int i = 0; i < 64; i++)
		if (cache[i].it == it && cache[i].sl == sl && !memcmp(cache[i].salt, salt, sl)) return cache[i].key;
	at = (at + 1) % 64;
	if (sl > 256) return NULL;
	PKCS5_PBKDF2_HMAC(o.password, strlen(o.password), salt, sl, it, md, EVP_MD_size(md), cache[at].key);
	memcpy(cache[at].salt, salt, sl);
	cache[at].sl = sl;
	cache[at].it = it;
	return cache[at].key;
}

static int scram_check_final(struct cl *c, const char *b64)
{
	char m[512];
	unsigned char sig[128];
	int n = strlen(b64);
	if (!n || n > 400) return 0;
	n = b64d(b64, n, (unsigned char *)m);
	if (n < 3) return 0;
	m[n] = 0;
	if (m[0] != 'v' || m[1] != '=') return 0;
	char *z = strchr(m, ',');
	if (z) *z = 0;
	int l = strlen(m + 2);
	if (l > 120) return 0;
	n = b64d(m + 2, l, sig);
	return n == (int)c->sc->siglen && !memcmp(sig, c->sc->server_sig, n);
}

static void on_challenge(struct cl *c, const char *s, const char *e)
{
	static char t[4096], m[4096], fin[2048], am[8192], p64[256], r64[4096];
	const EVP_MD *md = scram_md();
	int n = text(s, e, t, sizeof t);
	if (!md || !c->sc) { fail(c, "unexpected challenge"); return; }
	if (c->sc->final_sent) {
		if (!scram_check_final(c, t)) { fail(c, "bad server signature"); return; }
		c->sc->verified = 1;
		putf(c, "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
		return;
	}
	if (n < 4 || (n = b64d(t, n, (unsigned char *)m)) < 0) { fail(c, "bad challenge"); return; }
	m[n] = 0;
	char nonce[512] = "", salt64[512] = "";
	int it = 0;
	char *cp = strdup(m), *sv, *k;
	for (k = strtok_r(cp, ",", &sv); k; k = strtok_r(NULL, ",", &sv)) {
		if (!strncmp(k, "r=", 2)) snprintf(nonce, sizeof nonce, "%s", k + 2);
		else if (!strncmp(k, "s=", 2)) snprintf(salt64, sizeof salt64, "%s", k + 2);
		else if (!strncmp(k, "i=", 2)) it = atoi(k + 2);
	}
	free(cp);
	unsigned char salt[512], ck[64], sk[64], sig[64], svk[64];
	int sl = b64d(salt64, strlen(salt64), salt), L = EVP_MD_size(md);
	const unsigned char *sp;
	if (sl < 1 || it < 1 || strncmp(nonce, c->sc->nonce, strlen(c->sc->nonce)) || !(sp = salted(md, salt, sl, it))) {
		fail(c, "bad SCRAM challenge: %s", m);
		return;
	}
	snprintf(fin, sizeof fin, "c=biws,r=%s", nonce);
	int al = snprintf(am, sizeof am, "%s,%s,%s", c->sc->first_bare, m, fin);
	unsigned u;
	HMAC(md, sp, L, (const unsigned char *)"Client Key", 10, ck, &u);
	EVP_Digest(ck, L, sk, &u, md, NULL);
	HMAC(md, sk, L, (unsigned char *)am, al, sig, &u);
	for (int i = 0; i < L; i++) ck[i] ^= sig[i];
	HMAC(md, sp, L, (const unsigned char *)"Server Key", 10, svk, &u);
	HMAC(md, svk, L, (unsigned char *)am, al, c->sc->server_sig, &c->sc->siglen);
	b64e(ck, L, p64);
	n = snprintf(m, sizeof m, "%s,p=%s", fin, p64);
	b64e(m, n, r64);
	c->sc->final_sent = 1;
	putf(c, "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>%s</response>", r64);
}

static void send_roster(struct cl *c)
{
	c->st = S_PRES;
	if (o.no_roster) {
		c->got_roster = 1;
		putf(c, "<presence/>");
	} else
		putf(c, "<iq type='get' id='xl-roster'><query xmlns='jabber:iq:roster'/></iq><presence/>");
}

static void after_bind(struct cl *c)
{
	if (c->need_session) {
		c->need_session = 0;
		c->st = S_SESS;
		putf(c, "<iq type='set' id='xl-sess'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>");
	} else if (o.sm && c->has_sm && !c->sm_on) {
		c->st = S_SM;
		putf(c, "<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
	} else send_roster(c);
}

static void on_features(struct cl *c, const char *s, const char *e)
{
	char t[128];
	if (o.tls && !c->tls_on) {
		if (!find(s, e, "starttls")) { fail(c, "STARTTLS not offered"); return; }
		c->st = S_TLS;
		putf(c, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
		return;
	}
	if (!c->auth_done) {
		for (const char *p = s; (p = find(p, e, "mechanism")); p++) {
			text(p, e, t, sizeof t);
			if (!strcmp(t, o.mech)) { send_auth(c); return; }
		}
		fail(c, "mechanism %s not offered: %.*s", o.mech, (int)(e - s), s);
		return;
	}
	if (!find(s, e, "bind")) { fail(c, "bind not offered"); return; }
	const char *p = find(s, e, "session");
	c->need_session = 0;
	if (p) {
		const char *z = memchr(p, '>', e - p);
		c->need_session = !(z && z[-1] != '/' && find(p, e, "optional"));
	}
	c->has_sm = memmem(s, e - s, "urn:xmpp:sm:3", 13) != NULL;
	c->st = S_BIND;
	putf(c, "<iq type='set' id='xl-bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>load</resource></bind></iq>");
}

static void start_tls(struct cl *c)
{
	c->ssl = SSL_new(ctx);
	SSL_set_fd(c->ssl, c->fd);
	SSL_set_tlsext_host_name(c->ssl, o.domain);
	SSL_set_connect_state(c->ssl);
	c->st = S_HS;
}

static void handshake(struct cl *c)
{
	ERR_clear_error();
	int r = SSL_do_handshake(c->ssl);
	if (r == 1) {
		c->tls_on = 1;
		epmod(c, 0);
		send_header(c);
		return;
	}
	int e = SSL_get_error(c->ssl, r);
	if (e == SSL_ERROR_WANT_READ) epmod(c, 0);
	else if (e == SSL_ERROR_WANT_WRITE) epmod(c, 1);
	else fail(c, "TLS handshake: %s", ERR_error_string(ERR_peek_last_error(), NULL));
}

static int churn;

static void check_online(struct cl *c)
{
	if (c->st != S_PRES || !c->got_roster || !c->got_pres) return;
	c->st = S_ON;
	n_inprog--;
	n_online++;
	h_add(&HL, now_ns() - c->t0);
	free(c->sc);
	c->sc = NULL;
	if (churn) {
		n_online--;
		c->st = S_CLOSE;
		putf(c, "<presence type='unavailable'/></stream:stream>");
	}
}

static void start_login(struct cl *c)
{
	int i = c->idx, one = 1;
	c->fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0) die("socket: %s", strerror(errno));
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	c->st = S_CONN;
	c->t0 = now_ns();
	n_inprog++;
	c->want_out = 1;
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT, .data.u32 = i };
	epoll_ctl(epfd, EPOLL_CTL_ADD, c->fd, &ev);
	if (connect(c->fd, (struct sockaddr *)&sa, salen) < 0 && errno != EINPROGRESS)
		fail(c, "connect: %s", strerror(errno));
}

/* ----------------------------------------------------------- messaging */

static int measuring, stopping, muc_on, pres_on;
static u64 m_delivered, m_receipts, m_other, m_granted, t_meas0;
static u64 dup_cnt, reorder_cnt;
static char filler[4096];
static char roomjid[512];
static int muc_joined, muc_cfg;

static void send_msg(struct cl *c, u64 ts)
{
	char b[8192], tok[96];
	u32 seq = c->seq++;
	int tn = snprintf(tok, sizeof tok, "XL:%x:%x:%x:%llx;", run_id, c->idx, seq, (unsigned long long)ts);
	int pad = o.body - tn;
	if (pad < 0) pad = 0;
	int n;
	if (muc_on) {
		n = snprintf(b, sizeof b, "<message to='%s' id='%08x-%04x-%08x' type='groupchat'><body>%s%.*s</body>"
			"<markable xmlns='urn:xmpp:chat-markers:0'/>"
			"<origin-id xmlns='urn:xmpp:sid:0' id='%08x-%04x-%08x'/></message>",
			roomjid, run_id, c->idx, seq, tok, pad, filler, run_id, c->idx, seq);
		if (c->copies) c->copies[seq % c->copies_cap] = 0;
	} else {
		struct cl *d = &C[c->partner];
		n = snprintf(b, sizeof b, "<message to='%s' id='%08x-%04x-%08x' type='chat'><body>%s%.*s</body>"
			"<request xmlns='urn:xmpp:receipts'/><markable xmlns='urn:xmpp:chat-markers:0'/>"
			"<origin-id xmlns='urn:xmpp:sid:0' id='%08x-%04x-%08x'/></message>",
			o.full_jid ? d->jid : d->bare, run_id, c->idx, seq, tok, pad, filler, run_id, c->idx, seq);
	}
	c->sent++;
	c->inflight++;
	put(c, b, n);
}

static int see(struct cl *r, u32 seq) /* 1: new */
{
	if (seq / 64 >= r->nbits) {
		u32 nb = (seq / 64 + 1) * 2;
		r->bits = xrealloc(r->bits, nb * 8);
		memset(r->bits + r->nbits, 0, (nb - r->nbits) * 8);
		r->nbits = nb;
	}
	u64 m = 1ull << (seq & 63);
	if (r->bits[seq / 64] & m) { dup_cnt++; return 0; }
	r->bits[seq / 64] |= m;
	if (seq + 1 < r->maxseen) reorder_cnt++;
	else r->maxseen = seq + 1;
	r->uniq++;
	return 1;
}

/* muc: per (occupant, sender) order check needs its own counters */
static u32 *muc_next; /* [occupant * senders + sender] */

static void on_message(struct cl *c, const char *s, const char *e)
{
	char t[256];
	if (attr(s, e, "type", t, sizeof t) && !strcmp(t, "error")) {
		if (n_stanza_err++ < 3) fprintf(stderr, "message error: %.*s\n", (int)(e - s > 700 ? 700 : e - s), s);
		return;
	}
	const char *p = memmem(s, e - s, "XL:", 3);
	if (!p) {
		if (o.receipts && (p = memmem(s, e - s, "XR:", 3))) {
			u32 run, snd, seq;
			unsigned long long ts;
			if (sscanf(p, "XR:%x:%x:%x:%llx;", &run, &snd, &seq, &ts) == 4 && run == run_id && snd == (u32)c->idx) {
				if (measuring) m_receipts++;
				c->inflight--;
				if (!stopping && o.rate <= 0 && c->st == S_ON) send_msg(c, now_ns());
			}
			return;
		}
		m_other++;
		return;
	}
	char *q;
	u32 run = strtoul(p + 3, &q, 16);
	if (run != run_id || *q != ':') return;
	u32 snd = strtoul(q + 1, &q, 16);
	u32 seq = strtoul(q + 1, &q, 16);
	u64 ts = strtoull(q + 1, &q, 16);
	if (snd >= (u32)NC) return;
	u64 now = now_ns();
	struct cl *x = &C[snd];
	if (muc_on) {
		u32 *nx = &muc_next[(size_t)c->idx * o.senders + snd];
		if (seq == *nx) (*nx)++;
		else if (seq < *nx) dup_cnt++;
		else { reorder_cnt += seq - *nx; *nx = seq + 1; }
		if (measuring) { m_delivered++; if (ts >= t_meas0) h_add(&H, now - ts); }
		c->uniq++;
		if (++x->copies[seq % x->copies_cap] == o.occupants) {
			x->inflight--;
			if (!stopping && o.rate <= 0 && x->st == S_ON) send_msg(x, now_ns());
		}
		return;
	}
	if (x->partner != (u32)c->idx) return;
	if (!see(c, seq)) return;
	if (measuring) { m_delivered++; if (ts >= t_meas0) h_add(&H, now - ts); }
	if (o.receipts) {
		char from[512];
		if (!attr(s, e, "from", from, sizeof from)) return;
		char id[64];
		if (!attr(s, e, "id", id, sizeof id)) id[0] = 0;
		putf(c, "<message to='%s' id='r%08x-%04x-%08x' type='chat'><received xmlns='urn:xmpp:receipts' id='%s'/>"
			"<thread>XR:%x:%x:%x:%llx;</thread></message>", from, run_id, c->idx, seq, id, run_id, snd, seq, (unsigned long long)ts);
		return;
	}
	x->inflight--;
	if (!stopping && o.rate <= 0 && x->st == S_ON) send_msg(x, now);
}

static void on_presence(struct cl *c, const char *s, const char *e)
{
	char from[600], type[64];
	if (!attr(s, e, "from", from, sizeof from)) from[0] = 0;
	int typed = attr(s, e, "type", type, sizeof type);
	if (c->st == S_PRES) {
		if (!typed && (!from[0] || !c->jid || !strcasecmp(from, c->jid))) { c->got_pres = 1; check_online(c); }
		return;
	}
	if (muc_on && !c->roomed) {
		size_t l = strlen(roomjid);
		if (!strncasecmp(from, roomjid, l)) {
			if (typed && !strcmp(type, "error")) {
				if (n_stanza_err++ < 3) fprintf(stderr, "room error: %.*s\n", (int)(e - s > 700 ? 700 : e - s), s);
				return;
			}
			char nick[64];
			snprintf(nick, sizeof nick, "n%d", c->idx);
			if (!typed && from[l] == '/' && !strcmp(from + l + 1, nick)) { c->roomed = 1; muc_joined++; }
		}
		return;
	}
	if (pres_on) {
		if (typed && !strcmp(type, "subscribe")) {
			putf(c, "<presence type='subscribed' to='%s'/>", from);
			m_other++;
			return;
		}
		if (typed && !strcmp(type, "subscribed")) m_granted++;
		if (typed && !strcmp(type, "error")) n_stanza_err++;
		const char *p = memmem(s, e - s, "XP:", 3);
		if (!p || typed) { m_other++; return; }
		u32 run, snd, seq;
		unsigned long long ts;
		if (sscanf(p, "XP:%x:%x:%x:%llx;", &run, &snd, &seq, &ts) == 4 && run == run_id && snd < (u32)NC) {
			C[snd].uniq++;
			if (measuring) { m_delivered++; if (ts >= t_meas0) h_add(&H, now_ns() - ts); }
		}
	}
}

static u64 iq_results;

static void on_iq(struct cl *c, const char *s, const char *e)
{
	char type[32], id[256], from[600];
	attr(s, e, "type", type, sizeof type);
	attr(s, e, "id", id, sizeof id);
	if (!strcmp(type, "result") || !strcmp(type, "error")) {
		int err = type[0] == 'e';
		if (!strcmp(id, "xl-bind") && c->st == S_BIND) {
			char j[512];
			const char *p = find(s, e, "jid");
			if (err || !p || !text(p, e, j, sizeof j)) { fail(c, "bind failed: %.*s", (int)(e - s), s); return; }
			free(c->jid); free(c->bare);
			c->jid = strdup(j);
			c->bare = strdup(j);
			char *sl = strchr(c->bare, '/');
			if (sl) *sl = 0;
			after_bind(c);
		} else if (!strcmp(id, "xl-sess") && c->st == S_SESS) {
			after_bind(c);
		} else if (!strcmp(id, "xl-roster")) {
			c->got_roster = 1;
			check_online(c);
		} else if (!strcmp(id, "xl-muccfg")) {
			muc_cfg = 1;
			if (err) fprintf(stderr, "note: room configuration refused (room existed?): %.*s\n", (int)(e - s > 300 ? 300 : e - s), s);
		} else iq_results++;
		return;
	}
	attr(s, e, "from", from, sizeof from);
	if (find(s, e, "ping") || (!strcmp(type, "set") && memmem(s, e - s, "jabber:iq:roster", 16)))
		putf(c, "<iq type='result' id='%s'%s%s%s/>", id, *from ? " to='" : "", from, *from ? "'" : "");
	else
		putf(c, "<iq type='error' id='%s'%s%s%s><error type='cancel'><service-unavailable "
			"xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>", id, *from ? " to='" : "", from, *from ? "'" : "");
}

static void on_stanza(struct cl *c, const char *s, const char *e)
{
	const char *b;
	int n = lname(s, e, &b);
#define IS(x) (n == (int)sizeof(x) - 1 && !memcmp(b, x, sizeof(x) - 1))
	if (IS("message")) { if (c->sm_on) c->sm_h++; on_message(c, s, e); }
	else if (IS("presence")) { if (c->sm_on) c->sm_h++; on_presence(c, s, e); }
	else if (IS("iq")) { if (c->sm_on) c->sm_h++; on_iq(c, s, e); }
	else if (IS("r")) { if (c->sm_on) putf(c, "<a xmlns='urn:xmpp:sm:3' h='%u'/>", c->sm_h); }
	else if (IS("a")) { }
	else if (IS("features")) { if (c->st == S_FEAT) on_features(c, s, e); }
	else if (IS("proceed")) { if (c->st == S_TLS) { c->reset = 1; start_tls(c); } }
	else if (IS("challenge")) { if (c->st == S_AUTH) on_challenge(c, s, e); }
	else if (IS("success")) {
		if (c->st != S_AUTH) return;
		char t[512];
		text(s, e, t, sizeof t);
		if (c->sc && !c->sc->verified && !scram_check_final(c, t)) { fail(c, "bad server signature in <success/>"); return; }
		c->auth_done = 1;
		c->reset = 1;
		send_header(c);
	}
	else if (IS("failure")) fail(c, "failure: %.*s", (int)(e - s > 400 ? 400 : e - s), s);
	else if (IS("enabled")) { if (c->st == S_SM) { c->sm_on = 1; c->sm_h = 0; send_roster(c); } }
	else if (IS("failed")) { if (c->st == S_SM) { c->has_sm = 0; send_roster(c); } }
	else if (IS("error")) {
		if (c->st == S_CLOSE) shut(c);
		else fail(c, "stream error: %.*s", (int)(e - s > 400 ? 400 : e - s), s);
	}
#undef IS
}

/* scan rd[0..len); returns bytes kept (moved to the front of the leftover) */
static void scan(struct cl *c, u32 len)
{
	char *in = rd;
	for (;;) {
		if (c->ps == P_TEXT) {
			char *p = memchr(in + c->scan, '<', len - c->scan);
			if (!p) { c->scan = len; break; }
			c->tag = p - in;
			c->scan = c->tag + 1;
			c->ps = P_TAG;
			c->q = 0;
		}
		if (c->tag + 1 >= len) break;
		char k = in[c->tag + 1];
		if (k == '!') {
			if (len - c->tag < 9) break;
			int cd = !memcmp(in + c->tag, "<![CDATA[", 9);
			char *z = memmem(in + c->tag, len - c->tag, cd ? "]]>" : "-->", 3);
			if (!z) break;
			c->scan = z + 3 - in;
			c->ps = P_TEXT;
			continue;
		}
		char *p = in + c->scan, *e = in + len;
		char q = c->q;
		int done = 0;
		while (p < e) {
			if (q) {
				p = memchr(p, q, e - p);
				if (!p) { p = e; break; }
				p++;
				q = 0;
				continue;
			}
			char ch = *p++;
			if (ch == '>') { done = 1; break; }
			if (ch == '"' || ch == '\'') q = ch;
		}
		c->q = q;
		c->scan = p - in;
		if (!done) break;
		c->ps = P_TEXT;
		if (k == '?') continue;
		if (k == '/') {
			c->depth--;
			if (c->depth == 1) on_stanza(c, in + c->sstart, p);
			else if (c->depth <= 0) {
				if (c->st == S_CLOSE) shut(c);
				else fail(c, "stream closed by server");
			}
		} else if (p[-2] == '/') {
			if (c->depth == 1) on_stanza(c, in + c->tag, p);
		} else {
			if (c->depth == 1) c->sstart = c->tag;
			c->depth++;
		}
		if (c->fd < 0) return;
		if (c->reset) {
			c->reset = 0;
			c->depth = 0;
			c->scan = c->inlen = 0;
			c->ps = P_TEXT;
			return;
		}
	}
	u32 base = c->depth > 1 ? c->sstart : c->ps == P_TAG ? c->tag : c->scan;
	u32 keep = len - base;
	if (keep) {
		c->left = xrealloc(c->left, keep);
		memcpy(c->left, in + base, keep);
	} else if (c->left) { free(c->left); c->left = NULL; }
	c->inlen = keep;
	c->scan -= base;
	if (c->ps == P_TAG) c->tag -= base;
	c->sstart -= c->depth > 1 ? base : c->sstart;
}

static void on_readable(struct cl *c)
{
	for (;;) {
		if (c->fd < 0) return;
		if (c->st == S_HS) { handshake(c); if (c->st == S_HS || c->fd < 0) return; }
		if (c->inlen) memcpy(rd, c->left, c->inlen);
		u32 room = RDCAP - c->inlen;
		if (room < 32768) { fail(c, "stanza too big"); return; }
		if (room > 65536) room = 65536;
		int n;
		if (c->tls_on) {
			ERR_clear_error();
			n = SSL_read(c->ssl, rd + c->inlen, room);
			if (n <= 0) {
				int e = SSL_get_error(c->ssl, n);
				if (e == SSL_ERROR_WANT_READ) return;
				if (e == SSL_ERROR_WANT_WRITE) { epmod(c, 1); return; }
				if (c->st == S_CLOSE) shut(c);
				else fail(c, "TLS connection closed (%d)", e);
				return;
			}
		} else {
			n = read(c->fd, rd + c->inlen, room);
			if (n < 0 && errno == EAGAIN) return;
			if (n <= 0) {
				if (c->st == S_CLOSE) shut(c);
				else fail(c, n ? "read error" : "connection closed");
				return;
			}
		}
		int was = c->st;
		scan(c, c->inlen + n);
		if (!c->tls_on && n < (int)room && !(c->st == S_HS && was != S_HS)) return;
	}
}

static void pump(int ms)
{
	static struct epoll_event ev[512];
	int n = epoll_wait(epfd, ev, 512, ms);
	for (int i = 0; i < n; i++) {
		if (ev[i].data.u32 == UINT32_MAX) {
			u64 x;
			if (read(tfd, &x, 8) == 8) timer_fired = 1;
			continue;
		}
		struct cl *c = &C[ev[i].data.u32];
		if (c->fd < 0) continue;
		if (c->st == S_CONN) {
			int err = 0;
			socklen_t l = sizeof err;
			getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &l);
			if (err) { fail(c, "connect: %s", strerror(err)); continue; }
			if (!(ev[i].events & EPOLLOUT)) continue;
			epmod(c, 0);
			send_header(c);
			continue;
		}
		if (ev[i].events & EPOLLOUT) {
			if (c->st == S_HS) handshake(c);
			else { if (c->outoff == c->outlen) epmod(c, 0); flush_out(c); }
		}
		if (c->fd >= 0 && (ev[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))) on_readable(c);
	}
	for (int i = 0; i < ndirty; i++) { C[dirty[i]].dirty = 0; flush_out(&C[dirty[i]]); }
	ndirty = 0;
}

static void pump_for(double sec)
{
	u64 end = now_ns() + (u64)(sec * 1e9), t;
	while ((t = now_ns()) < end) {
		u64 l = (end - t) / 1000000;
		pump(l > 100 ? 100 : l + 1);
	}
}

static int login_all(int n)
{
	int next = 0;
	u64 lastcheck = now_ns();
	while (next < n || n_inprog) {
		while (next < n && n_inprog < (u64)o.conc) start_login(&C[next++]);
		pump(50);
		u64 t = now_ns();
		if (t - lastcheck > 1000000000ull) {
			lastcheck = t;
			for (int i = 0; i < next; i++)
				if (C[i].st > S_IDLE && C[i].st < S_ON && t - C[i].t0 > o.login_timeout * 1e9) {
					/* no echo of our own presence is not fatal */
					if (C[i].st == S_PRES && C[i].got_roster) { C[i].got_pres = 1; check_online(&C[i]); }
					else fail(&C[i], "login timed out");
				}
			if (n_fail > 100 && n_fail > (u64)next / 2) break;
		}
	}
	return (int)n_online;
}

static void logout_all(void)
{
	for (int i = 0; i < NC; i++) if (C[i].st == S_ON) {
		n_online--;
		C[i].st = S_CLOSE;
		o.batch = 0;
		putf(&C[i], "<presence type='unavailable'/></stream:stream>");
		if (i % 256 == 255) pump(0);
	}
	u64 end = now_ns() + 20000000000ull;
	for (;;) {
		int open = 0;
		for (int i = 0; i < NC; i++) if (C[i].fd >= 0) open++;
		if (!open || now_ns() > end) break;
		pump(50);
	}
}

/* --------------------------------------------------------------- JSON */

static void js_begin(void)
{
	printf("{\"mode\":\"%s\",\"tag\":\"%s\",\"tls\":%d,\"mech\":\"%s\"", o.mode, o.tag, o.tls, o.mech);
}
static void js_i(const char *k, long long v) { printf(",\"%s\":%lld", k, v); }
static void js_f(const char *k, double v) { printf(",\"%s\":%.4g", k, v); }
static void js_f2(const char *k, double v) { printf(",\"%s\":%.3f", k, v); }

static void js_cpu(struct sample *a, struct sample *b)
{
	double w = (b->t - a->t) / 1e9;
	js_f2("wall_s", w);
	js_f2("server_cpu_s", b->cpu - a->cpu);
	js_f2("server_user_s", b->user - a->user);
	js_f2("server_sys_s", b->sys - a->sys);
	js_f2("server_cores", (b->cpu - a->cpu) / w);
	js_f2("loadgen_cpu_s", b->self - a->self);
	js_i("nproc", b->nproc);
	js_i("nthreads", b->nthr);
}
static void js_mem(const char *k, struct sample *a)
{
	printf(",\"pss_kib_%s\":%ld,\"rss_kib_%s\":%ld", k, a->pss, k, a->rss);
}
static void js_lat(const char *pfx, struct hist *h)
{
	printf(",\"%s_ms\":{\"n\":%llu,\"mean\":%.3f,\"p50\":%.3f,\"p95\":%.3f,\"p99\":%.3f,\"max\":%.3f}", pfx,
		(unsigned long long)h->n, h->n ? h->sum / h->n / 1e6 : 0, h_pct(h, 50), h_pct(h, 95), h_pct(h, 99), h->max / 1e6);
}
static void js_errs(void)
{
	js_i("login_failures", n_fail);
	js_i("disconnects", n_disc);
	js_i("stanza_errors", n_stanza_err);
}
static void js_end(void) { printf("}\n"); fflush(stdout); }

/* --------------------------------------------------------------- modes */

static void timer_at(u64 t)
{
	struct itimerspec it = { .it_value = { .tv_sec = t / 1000000000ull, .tv_nsec = t % 1000000000ull } };
	if (!it.it_value.tv_sec && !it.it_value.tv_nsec) it.it_value.tv_nsec = 1;
	timerfd_settime(tfd, TFD_TIMER_ABSTIME, &it, NULL);
}

static u64 rate_k, rate_t0, behind_max;
static int rate_nsend, rate_step;
static void (*rate_fn)(struct cl *, u64);

static void rate_tick(void) /* send all that is due, arm the timer for the next */
{
	for (;;) {
		u64 due = rate_t0 + (u64)(rate_k * (1e9 / o.rate));
		u64 t = now_ns();
		if (due > t) { timer_at(due); return; }
		if (t - due > behind_max) behind_max = t - due;
		struct cl *c = &C[(rate_k % rate_nsend) * rate_step];
		if (c->st == S_ON) rate_fn(c, due);
		rate_k++;
		if (o.batch && ndirty > 64) return;
	}
}

static void run_phase(double sec, int rate)
{
	u64 end = now_ns() + (u64)(sec * 1e9), t;
	while ((t = now_ns()) < end) {
		if (rate) {
			rate_tick();
			pump(100);
		} else {
			u64 l = (end - t) / 1000000;
			pump(l > 100 ? 100 : (int)l + 1);
		}
	}
}

/* nothing comes out of the closed loop for o.drain seconds: give up */
static void drain(u64 (*pending)(void))
{
	u64 last = now_ns(), prev = pending();
	while (prev && now_ns() - last < o.drain * 1e9) {
		pump(50);
		u64 p = pending();
		if (p != prev) { prev = p; last = now_ns(); }
	}
}

static u64 pend_inflight(void)
{
	u64 s = 0;
	for (int i = 0; i < NC; i++) s += C[i].inflight;
	return s;
}

static void measured(struct sample *a, struct sample *b, int rate)
{
	run_phase(o.warmup, rate);
	sample(a, 1);
	sample(a, 0);
	memset(&H, 0, sizeof H);
	m_delivered = m_receipts = m_other = 0;
	behind_max = 0;
	t_meas0 = now_ns();
	measuring = 1;
	run_phase(o.duration, rate);
	measuring = 0;
	sample(b, 0);
}

static void mode_login(int idle)
{
	struct sample a, b, i0, m0, m1;
	sample(&m0, 1);
	sample(&a, 0);
	int ok = login_all(o.n);
	if (churn) ok = (int)HL.n;
	sample(&b, 0);
	if (churn) { u64 end = now_ns() + 10000000000ull; while ((int)n_churned < ok && now_ns() < end) pump(50); sample(&b, 0); }
	pump_for(o.settle);
	sample(&i0, 0);
	double idlecpu = 0, idlew = 0;
	if (idle) {
		pump_for(o.duration);
		struct sample i1;
		sample(&i1, 0);
		idlecpu = i1.cpu - i0.cpu;
		idlew = (i1.t - i0.t) / 1e9;
	}
	sample(&m1, 1);
	js_begin();
	js_i("n", o.n);
	js_i("ok", ok);
	js_i("concurrency", o.conc);
	js_cpu(&a, &b);
	js_f2("logins_per_s", ok / ((b.t - a.t) / 1e9));
	if (ok) js_f2("server_cpu_ms_per_login", (b.cpu - a.cpu) * 1e3 / ok);
	if (ok) js_f2("loadgen_cpu_ms_per_login", (b.self - a.self) * 1e3 / ok);
	js_lat("login", &HL);
	js_mem("before", &m0);
	js_mem("after", &m1);
	if (ok && !churn) {
		js_f2("pss_kib_per_conn", (double)(m1.pss - m0.pss) / ok);
		js_f2("rss_kib_per_conn", (double)(m1.rss - m0.rss) / ok);
	}
	if (idle) { js_f2("idle_wall_s", idlew); js_f2("idle_server_cpu_s", idlecpu); js_f("idle_cpu_percent", idlew ? 100 * idlecpu / idlew : 0); }
	js_errs();
	js_end();
	logout_all();
}

static void mode_chat(int rate)
{
	struct sample a, b, m1;
	NC = o.pairs * 2;
	int ok = login_all(NC);
	if (ok < NC) die("only %d of %d clients logged in", ok, NC);
	for (int i = 0; i < NC; i++) C[i].partner = i ^ 1;
	pump_for(o.settle);
	if (rate) {
		rate_fn = send_msg;
		rate_nsend = o.bidi ? NC : o.pairs;
		rate_step = o.bidi ? 1 : 2;
		rate_t0 = now_ns();
	} else
		for (int i = 0; i < NC; i += o.bidi ? 1 : 2) for (int w = 0; w < o.window; w++) send_msg(&C[i], now_ns());
	measured(&a, &b, rate);
	u64 backlog = pend_inflight();
	stopping = 1;
	drain(pend_inflight);
	sample(&m1, 1);
	u64 sent = 0, uniq = 0;
	for (int i = 0; i < NC; i++) { sent += C[i].sent; uniq += C[i].uniq; }
	double w = (b.t - a.t) / 1e9;
	js_begin();
	js_i("pairs", o.pairs);
	if (!rate) js_i("window", o.window);
	else js_f2("rate", o.rate);
	js_i("bidi", o.bidi);
	js_i("receipts", o.receipts);
	js_i("sm", o.sm);
	js_i("body", o.body);
	js_cpu(&a, &b);
	js_i("delivered", m_delivered);
	js_f2("delivered_per_s", m_delivered / w);
	if (o.receipts) js_i("receipts_delivered", m_receipts);
	if (m_delivered) {
		js_f2("server_cpu_us_per_msg", (b.cpu - a.cpu) * 1e6 / (m_delivered + m_receipts));
		js_f2("loadgen_cpu_us_per_msg", (b.self - a.self) * 1e6 / (m_delivered + m_receipts));
	}
	js_lat("latency", &H);
	js_i("sent", sent);
	js_i("received", uniq);
	js_i("lost", (long long)(sent - uniq));
	js_i("duplicated", dup_cnt);
	js_i("reordered", reorder_cnt);
	js_i("backlog_at_end", backlog);
	if (rate) js_f2("sender_lag_max_ms", behind_max / 1e6);
	js_mem("after", &m1);
	js_errs();
	js_end();
	logout_all();
}

static void mode_muc(void)
{
	struct sample a, b, m1, j0, j1;
	int rate = o.rate > 0;
	if (!o.muc) die("--muc DOMAIN is needed");
	NC = o.occupants;
	if (o.senders > NC) o.senders = NC;
	int ok = login_all(NC);
	if (ok < NC) die("only %d of %d clients logged in", ok, NC);
	if (o.room) snprintf(roomjid, sizeof roomjid, "%s@%s", o.room, o.muc);
	else snprintf(roomjid, sizeof roomjid, "load%x@%s", run_id, o.muc);
	muc_next = calloc((size_t)NC * o.senders, sizeof *muc_next);
	for (int i = 0; i < o.senders; i++) {
		C[i].copies_cap = rate ? 65536 : (u32)o.window * 2 + 2;
		C[i].copies = calloc(C[i].copies_cap, sizeof *C[i].copies);
	}
	muc_on = 1;
	sample(&j0, 0);
	u64 end = now_ns() + 120000000000ull;
	for (int i = 0; i < NC && now_ns() < end; i++) {
		putf(&C[i], "<presence to='%s/n%d'><x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x></presence>", roomjid, i);
		int lag = i == 0 ? 0 : 8;
		while (i - muc_joined >= lag && now_ns() < end && !n_stanza_err) pump(50);
		if (i == 0) {
			putf(&C[0], "<iq type='set' id='xl-muccfg' to='%s'><query xmlns='http://jabber.org/protocol/muc#owner'>"
				"<x xmlns='jabber:x:data' type='submit'/></query></iq>", roomjid);
			while (!muc_cfg && now_ns() < end) pump(50);
		}
	}
	while (muc_joined < NC && now_ns() < end && !n_stanza_err) pump(50);
	if (muc_joined < NC) die("only %d of %d joined", muc_joined, NC);
	sample(&j1, 0);
	pump_for(o.settle);
	if (rate) {
		rate_fn = send_msg;
		rate_nsend = o.senders;
		rate_step = 1;
		rate_t0 = now_ns();
	} else
		for (int i = 0; i < o.senders; i++) for (int w = 0; w < o.window; w++) send_msg(&C[i], now_ns());
	measured(&a, &b, rate);
	stopping = 1;
	drain(pend_inflight);
	sample(&m1, 1);
	u64 sent = 0, got = 0;
	for (int i = 0; i < NC; i++) { sent += C[i].sent; got += C[i].uniq; }
	double w = (b.t - a.t) / 1e9;
	js_begin();
	js_i("occupants", o.occupants);
	js_i("senders", o.senders);
	if (!rate) js_i("window", o.window);
	else js_f2("rate", o.rate);
	js_i("sm", o.sm);
	js_i("body", o.body);
	js_cpu(&a, &b);
	js_i("copies", m_delivered);
	js_f2("copies_per_s", m_delivered / w);
	js_f2("messages_per_s", m_delivered / w / o.occupants);
	if (m_delivered) {
		js_f2("server_cpu_us_per_copy", (b.cpu - a.cpu) * 1e6 / m_delivered);
		js_f2("loadgen_cpu_us_per_copy", (b.self - a.self) * 1e6 / m_delivered);
	}
	js_lat("latency", &H);
	js_i("sent", sent);
	js_i("copies_received", got);
	js_i("copies_lost", (long long)(sent * o.occupants - got));
	js_i("duplicated", dup_cnt);
	js_i("reordered", reorder_cnt);
	js_f2("join_all_wall_s", (j1.t - j0.t) / 1e9);
	js_f2("join_all_server_cpu_s", j1.cpu - j0.cpu);
	js_mem("after", &m1);
	js_errs();
	js_end();
	logout_all();
}

/* presence: ring in which each user has `degree` mutual contacts */
static void send_pres(struct cl *c, u64 ts)
{
	u32 seq = c->seq++;
	c->sent++;
	putf(c, "<presence><show>%s</show><status>XP:%x:%x:%x:%llx;</status></presence>", seq & 1 ? "away" : "dnd",
		run_id, c->idx, seq, (unsigned long long)ts);
}

static void mode_presence(void)
{
	struct sample a, b, s0, s1, m1;
	NC = o.n;
	if (o.rate <= 0) o.rate = 50;
	int half = o.degree / 2;
	if (half < 1 || NC <= 2 * half) die("need --count > --degree >= 2");
	int ok = login_all(NC);
	if (ok < NC) die("only %d of %d clients logged in", ok, NC);
	pres_on = 1;
	sample(&s0, 0);
	u64 want = 0, deadline = now_ns() + 180000000000ull;
	/* both directions of each edge are asked for; the other end says yes */
	for (int k = 1; k <= half; k++) for (int i = 0; i < NC; i++) {
		int j = (i + k) % NC;
		putf(&C[i], "<presence type='subscribe' to='%s'/>", C[j].bare);
		putf(&C[j], "<presence type='subscribe' to='%s'/>", C[i].bare);
		want += 2;
		/* a server that writes every change to disk needs a while, and refuses what waits too long */
		if (i % 8 == 7) do pump(5); while (want - m_granted > 200 && now_ns() < deadline);
	}
	while (m_granted < want && now_ns() < deadline) pump(100);
	if (m_granted < want) die("only %llu of %llu subscriptions were granted", (unsigned long long)m_granted, (unsigned long long)want);
	u64 prev, last = now_ns();
	do { prev = m_other; pump(100); if (prev != m_other) last = now_ns(); } while (now_ns() - last < 3000000000ull);
	sample(&s1, 0);
	rate_fn = send_pres;
	rate_nsend = NC;
	rate_step = 1;
	rate_t0 = now_ns();
	measured(&a, &b, 1);
	stopping = 1;
	pump_for(2);
	sample(&m1, 1);
	u64 sent = 0, got = 0;
	for (int i = 0; i < NC; i++) { sent += C[i].sent; got += C[i].uniq; }
	double w = (b.t - a.t) / 1e9;
	js_begin();
	js_i("n", NC);
	js_i("degree", half * 2);
	js_f2("rate", o.rate);
	js_cpu(&a, &b);
	js_i("copies", m_delivered);
	js_f2("copies_per_s", m_delivered / w);
	if (m_delivered) js_f2("server_cpu_us_per_copy", (b.cpu - a.cpu) * 1e6 / m_delivered);
	js_f2("server_cpu_us_per_broadcast", (b.cpu - a.cpu) * 1e6 / (o.rate * w));
	js_lat("latency", &H);
	js_i("sent", sent);
	js_i("copies_received", got);
	js_f2("copies_per_broadcast", sent ? (double)got / sent : 0);
	js_i("setup_subscribes", want);
	js_f2("setup_wall_s", (s1.t - s0.t) / 1e9);
	js_f2("setup_server_cpu_s", s1.cpu - s0.cpu);
	js_mem("after", &m1);
	js_errs();
	js_end();
	logout_all();
}

static void mode_stat(void)
{
	struct sample a, b;
	sample(&a, 1);
	if (o.duration > 0) { struct timespec t = { (time_t)o.duration, (long)((o.duration - (time_t)o.duration) * 1e9) }; nanosleep(&t, NULL); }
	sample(&b, 1);
	js_begin();
	js_cpu(&a, &b);
	js_f2("server_cpu_total_s", b.cpu);
	js_mem("now", &b);
	js_end();
}

static void usage(void)
{
	fprintf(stderr,
"usage: xmppload MODE [options]\n"
"modes: login idle churn chat rate muc presence stat\n"
"  --host H --port P --domain D       server (127.0.0.1, 5222, bench.localhost)\n"
"  --user-prefix u --first 0          accounts are PREFIX+number\n"
"  --count N                          clients (login, idle, churn, presence)\n"
"  --password PW --mech M             SCRAM-SHA-1 (also -256, -512), PLAIN\n"
"  --tls | --plain   [--tls12] [--ciphers LIST]\n"
"  --pid PID                          server root process; repeat; children counted\n"
"  --concurrency C                    logins in progress at once (32)\n"
"  --pairs P --window W               chat: closed loop (50, 4)\n"
"  --rate R                           rate, presence: messages per second; muc: open loop\n"
"  --duration S --warmup S --settle S --drain S\n"
"  --muc DOMAIN --room NAME --occupants K --senders S\n"
"  --degree D                         presence: contacts of each user\n"
"  --body BYTES --full-jid --bidi --receipts --sm --batch --no-roster --tag TEXT\n");
	exit(2);
}

int main(int argc, char **argv)
{
	enum { X = 256, HOST, PORT, DOM, PFX, FIRST, COUNT, PW, MECH, TLS, PLAINT, TLS12, CIPH, PID, CONC, PAIRS, WIN, RATE, DUR, WARM,
		SETTLE, DRAIN, MUC, ROOM, OCC, SND, DEG, BODY, FULL, BIDI, RCPT, SM, BATCH, NOROS, TAG, LT };
	static const struct option lo[] = {
		{ "host", 1, 0, HOST }, { "port", 1, 0, PORT }, { "domain", 1, 0, DOM }, { "user-prefix", 1, 0, PFX },
		{ "first", 1, 0, FIRST }, { "count", 1, 0, COUNT }, { "password", 1, 0, PW }, { "mech", 1, 0, MECH },
		{ "tls", 0, 0, TLS }, { "plain", 0, 0, PLAINT }, { "tls12", 0, 0, TLS12 }, { "ciphers", 1, 0, CIPH },
		{ "pid", 1, 0, PID }, { "concurrency", 1, 0, CONC }, { "pairs", 1, 0, PAIRS }, { "window", 1, 0, WIN },
		{ "rate", 1, 0, RATE }, { "duration", 1, 0, DUR }, { "warmup", 1, 0, WARM }, { "settle", 1, 0, SETTLE },
		{ "drain", 1, 0, DRAIN }, { "muc", 1, 0, MUC }, { "room", 1, 0, ROOM }, { "occupants", 1, 0, OCC },
		{ "senders", 1, 0, SND }, { "degree", 1, 0, DEG }, { "body", 1, 0, BODY }, { "full-jid", 0, 0, FULL },
		{ "bidi", 0, 0, BIDI }, { "receipts", 0, 0, RCPT }, { "sm", 0, 0, SM }, { "batch", 0, 0, BATCH },
		{ "no-roster", 0, 0, NOROS }, { "tag", 1, 0, TAG }, { "login-timeout", 1, 0, LT }, { 0, 0, 0, 0 } };
	int k;
	if (argc < 2 || argv[1][0] == '-') usage();
	o.mode = argv[1];
	optind = 2;
	while ((k = getopt_long(argc, argv, "", lo, NULL)) != -1) switch (k) {
		case HOST: o.host = optarg; break;
		case PORT: o.port = atoi(optarg); break;
		case DOM: o.domain = optarg; break;
		case PFX: o.prefix = optarg; break;
		case FIRST: o.first = atoi(optarg); break;
		case COUNT: o.n = atoi(optarg); break;
		case PW: o.password = optarg; break;
		case MECH: o.mech = optarg; break;
		case TLS: o.tls = 1; break;
		case PLAINT: o.tls = 0; break;
		case TLS12: o.tls12 = 1; break;
		case CIPH: o.ciphers = optarg; break;
		case PID: if (o.npid < MAXPID) o.pids[o.npid++] = atoi(optarg); break;
		case CONC: o.conc = atoi(optarg); break;
		case PAIRS: o.pairs = atoi(optarg); break;
		case WIN: o.window = atoi(optarg); break;
		case RATE: o.rate = atof(optarg); break;
		case DUR: o.duration = atof(optarg); break;
		case WARM: o.warmup = atof(optarg); break;
		case SETTLE: o.settle = atof(optarg); break;
		case DRAIN: o.drain = atof(optarg); break;
		case MUC: o.muc = optarg; break;
		case ROOM: o.room = optarg; break;
		case OCC: o.occupants = atoi(optarg); break;
		case SND: o.senders = atoi(optarg); break;
		case DEG: o.degree = atoi(optarg); break;
		case BODY: o.body = atoi(optarg); break;
		case FULL: o.full_jid = 1; break;
		case BIDI: o.bidi = 1; break;
		case RCPT: o.receipts = 1; break;
		case SM: o.sm = 1; break;
		case BATCH: o.batch = 1; break;
		case NOROS: o.no_roster = 1; break;
		case TAG: o.tag = optarg; break;
		case LT: o.login_timeout = atof(optarg); break;
		default: usage();
	}
	if (optind < argc) usage();
	signal(SIGPIPE, SIG_IGN);
	if (!strcmp(o.mode, "stat")) { mode_stat(); return 0; }
	if (strcmp(o.mech, "PLAIN") && !scram_md()) die("unknown mechanism %s", o.mech);
	if (o.body > 4000) die("--body at most 4000");

	struct rlimit rl;
	getrlimit(RLIMIT_NOFILE, &rl);
	rl.rlim_cur = rl.rlim_max;
	setrlimit(RLIMIT_NOFILE, &rl);

	if (!strcmp(o.mode, "chat") || !strcmp(o.mode, "rate")) o.n = o.pairs * 2;
	else if (!strcmp(o.mode, "muc")) o.n = o.occupants;
	if (o.n <= 0) o.n = 100;
	if ((rlim_t)o.n + 64 > rl.rlim_cur) die("%d clients need more file descriptors than %ld", o.n, (long)rl.rlim_cur);

	char port[16];
	snprintf(port, sizeof port, "%d", o.port);
	struct addrinfo hi = { .ai_socktype = SOCK_STREAM }, *ai;
	if (getaddrinfo(o.host, port, &hi, &ai)) die("cannot resolve %s", o.host);
	memcpy(&sa, ai->ai_addr, ai->ai_addrlen);
	salen = ai->ai_addrlen;

	static const char lorem[] = "the quick brown fox jumps over the lazy dog while the band plays on ";
	for (size_t i = 0; i < sizeof filler - 1; i++) filler[i] = lorem[i % (sizeof lorem - 1)];
	RAND_bytes((unsigned char *)&run_id, 4);
	run_id &= 0x7fffffff;
	rd = malloc(RDCAP);
	epfd = epoll_create1(EPOLL_CLOEXEC);
	tfd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	struct epoll_event ev = { .events = EPOLLIN, .data.u32 = UINT32_MAX };
	epoll_ctl(epfd, EPOLL_CTL_ADD, tfd, &ev);
	ctx = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	if (o.tls12) SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
	if (o.ciphers) { SSL_CTX_set_cipher_list(ctx, o.ciphers); SSL_CTX_set_ciphersuites(ctx, o.ciphers); }
	NC = o.n;
	C = calloc(NC, sizeof *C);
	dirty = calloc(NC, sizeof *dirty);
	for (int i = 0; i < NC; i++) { C[i].idx = i; C[i].fd = -1; }

	if (!strcmp(o.mode, "login")) mode_login(0);
	else if (!strcmp(o.mode, "idle")) mode_login(1);
	else if (!strcmp(o.mode, "churn")) { churn = 1; mode_login(0); }
	else if (!strcmp(o.mode, "chat")) { o.rate = 0; mode_chat(0); }
	else if (!strcmp(o.mode, "rate")) { if (o.rate <= 0) o.rate = 1000; mode_chat(1); }
	else if (!strcmp(o.mode, "muc")) mode_muc();
	else if (!strcmp(o.mode, "presence")) mode_presence();
	else usage();
	return n_fail || n_disc || n_stanza_err ? 1 : 0;
}
