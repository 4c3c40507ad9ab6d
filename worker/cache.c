/* cache.c - prepared modules on disk: $XDG_CACHE_HOME/agileos, ~/.cache/agileos, or /var/cache/agileos for root.
 *
 * A file is believed because only this user can have written it: the directory is ours with mode 0700, the file is
 * ours, regular, and writable by nobody else.  Clients may be this user's too, so a worker can have a key besides
 * (cache_key): then it believes what carries the right HMAC.  Without one that is a checksum, which finds damage.
 * Nothing fails for want of a cache; what was not used for longest goes when the directory is full.
 *
 * File: struct file_head, then the guard's result, the verifier's kernels, the code.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include "prepared.h"
#include "session.h"

#define FILE_MAGIC 0x32444f4d53474100ull
#define FILE_MAX (1ull << 30)

struct file_head {
	uint64_t magic;
	uint64_t result_bytes, kernels, const_bytes, code_bytes;
	uint64_t is_cubin, verified;
	uint8_t sum[DIGEST_BYTES]; /* HMAC of the module's name, the head with sum zero, and all that follows */
};

#define BLOCK 64u /* of SHA-256 */
#define DIRECTORY_MB 4096u
#define FILES_MAX 65536u

static uint8_t key[BLOCK]; /* all zero: none */

bool cache_key(const char *path)
{
	uint8_t text[4096];
	struct digest d;
	/* fd:N, opened by somebody who may: what this user may open, its clients may too. */
	int fd = strncmp(path, "fd:", 3) ? open(path, O_RDONLY | O_CLOEXEC) : atoi(path + 3);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);

	if (fd >= 0)
		close(fd);
	if (n < 16)
		return false;
	digest_start(&d);
	digest_add(&d, text, (size_t)n);
	digest_end(&d, key);
	explicit_bzero(text, sizeof text);
	return true;
}

bool cache_own_key(void) { return getrandom(key, DIGEST_BYTES, 0) == DIGEST_BYTES; }

static bool own_directory(const char *path)
{
	struct stat st;

	if (mkdir(path, 0700) && errno != EEXIST)
		return false;
	return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & 077);
}

/* The cache's directory; false: there is none we may use. */
static bool directory(char *path, size_t bytes)
{
	const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	int n;

	if (xdg && *xdg == '/')
		n = snprintf(path, bytes, "%s/agileos", xdg);
	else if (geteuid() == 0)
		n = snprintf(path, bytes, "/var/cache/agileos");
	else if (home && *home == '/') {
		snprintf(path, bytes, "%s/.cache", home);
		mkdir(path, 0700);
		n = snprintf(path, bytes, "%s/.cache/agileos", home);
	} else {
		return false;
	}
	return n > 0 && (size_t)n < bytes && own_directory(path);
}

static bool file_name(const uint8_t digest[DIGEST_BYTES], char *path, size_t bytes)
{
	if (!directory(path, bytes))
		return false;
	size_t at = strlen(path);
	if (at + 2 * DIGEST_BYTES + 16 > bytes)
		return false;
	path[at++] = '/';
	for (unsigned i = 0; i < DIGEST_BYTES; i++, at += 2)
		snprintf(path + at, 3, "%02x", digest[i]);
	strcpy(path + at, ".module");
	return true;
}

static void padded_key(struct digest *d, uint8_t with)
{
	uint8_t pad[BLOCK];

	for (unsigned i = 0; i < BLOCK; i++)
		pad[i] = key[i] ^ with;
	digest_start(d);
	digest_add(d, pad, sizeof pad);
}

/* RFC 2104. */
static void sum_of(const uint8_t name[DIGEST_BYTES], const struct file_head *h, const uint8_t *body, size_t n,
                   uint8_t out[DIGEST_BYTES])
{
	struct file_head clean = *h;
	struct digest d;
	uint8_t inner[DIGEST_BYTES];

	memset(clean.sum, 0, sizeof clean.sum);
	padded_key(&d, 0x36);
	digest_add(&d, name, DIGEST_BYTES);
	digest_add(&d, &clean, sizeof clean);
	digest_add(&d, body, n);
	digest_end(&d, inner);
	padded_key(&d, 0x5c);
	digest_add(&d, inner, sizeof inner);
	digest_end(&d, out);
}

static bool same_sum(const uint8_t a[DIGEST_BYTES], const uint8_t b[DIGEST_BYTES])
{
	uint8_t differs = 0;

	for (unsigned i = 0; i < DIGEST_BYTES; i++)
		differs |= a[i] ^ b[i];
	return !differs;
}

static bool read_all(int fd, void *to, size_t n)
{
	for (uint8_t *p = to; n;) {
		ssize_t got = read(fd, p, n);
		if (got <= 0)
			return false;
		p += got;
		n -= (size_t)got;
	}
	return true;
}

/* Takes the parts out of the body. Sizes were summed against the file's before. */
static bool unpack(const struct file_head *h, const uint8_t *body, struct prepared *p)
{
	const uint8_t *kernels = body + h->result_bytes;

	if (guard_result_read(&p->result, body, h->result_bytes))
		return false;
	p->verdict.ok = h->verified;
	p->verdict.const_bytes = h->const_bytes;
	p->verdict.nkernels = (uint32_t)h->kernels;
	p->verdict.kernels = malloc(h->kernels * sizeof *p->verdict.kernels + 1);
	p->code = malloc(h->code_bytes + 1);
	if (!p->verdict.kernels || !p->code)
		return false;
	memcpy(p->verdict.kernels, kernels, h->kernels * sizeof *p->verdict.kernels);
	p->code_len = h->code_bytes;
	memcpy(p->code, kernels + h->kernels * sizeof *p->verdict.kernels, p->code_len);
	p->code[p->code_len] = 0;
	p->is_cubin = h->is_cubin;
	return true;
}

static bool sizes_fit(const struct file_head *h, uint64_t file)
{
	if (h->magic != FILE_MAGIC || h->result_bytes > FILE_MAX || h->kernels > VERIFY_MAX_KERNELS ||
	    h->code_bytes > FILE_MAX)
		return false;
	return file == sizeof *h + h->result_bytes + h->kernels * sizeof(struct verify_kernel) + h->code_bytes;
}

bool cache_read(const uint8_t digest[DIGEST_BYTES], struct prepared *p)
{
	char path[4096];
	struct stat st;
	struct file_head h;
	uint8_t sum[DIGEST_BYTES], *body = NULL;
	bool ok = false;

	if (!file_name(digest, path, sizeof path))
		return false;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return false;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022) ||
	    (uint64_t)st.st_size > FILE_MAX)
		goto out;
	if (!read_all(fd, &h, sizeof h) || !sizes_fit(&h, (uint64_t)st.st_size))
		goto damaged;
	size_t n = (size_t)st.st_size - sizeof h;
	body = malloc(n + 1);
	if (!body || !read_all(fd, body, n))
		goto out;
	sum_of(digest, &h, body, n, sum);
	if (!same_sum(sum, h.sum) || !unpack(&h, body, p))
		goto damaged;
	ok = true;
	if (futimens(fd, NULL)) /* the directory forgets what was not used for longest */
		worker_log("cannot mark %s as used: %s", path, strerror(errno));
	goto out;
damaged:
	worker_log("%s is damaged, or not this worker's; it is made again", path);
	unlink(path);
out:
	free(body);
	close(fd);
	return ok;
}

static bool write_all(int fd, const void *from, size_t n)
{
	for (const uint8_t *p = from; n;) {
		ssize_t put = write(fd, p, n);
		if (put <= 0)
			return false;
		p += put;
		n -= (size_t)put;
	}
	return true;
}

/* --- room ------------------------------------------------------------------------------------------- */

struct aged {
	struct timespec used;
	uint64_t bytes;
	char name[2 * DIGEST_BYTES + 64];
};

static int older(const void *a, const void *b)
{
	const struct timespec *x = &((const struct aged *)a)->used, *y = &((const struct aged *)b)->used;

	if (x->tv_sec != y->tv_sec)
		return x->tv_sec < y->tv_sec ? -1 : 1;
	return x->tv_nsec < y->tv_nsec ? -1 : x->tv_nsec > y->tv_nsec;
}

static uint64_t room(void)
{
	const char *e = getenv("AGILEOS_CACHE_MB");
	uint64_t mb = e ? strtoull(e, NULL, 10) : 0;

	return (mb && mb < 1u << 30 ? mb : DIRECTORY_MB) << 20;
}

/* Files of the directory, at most FILES_MAX, with their bytes in all. */
static uint32_t list_files(DIR *d, struct aged *v, uint64_t *bytes)
{
	struct dirent *e;
	uint32_t n = 0;

	while (n < FILES_MAX && (e = readdir(d))) {
		struct stat st;
		if (strlen(e->d_name) >= sizeof v->name || !strstr(e->d_name, ".module") ||
		    fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
			continue;
		v[n] = (struct aged){ .used = st.st_mtim, .bytes = (uint64_t)st.st_blocks * 512 };
		strcpy(v[n].name, e->d_name);
		*bytes += v[n++].bytes;
	}
	return n;
}

/* Takes the least lately used files away, once there are too many bytes, until three quarters are left. */
static void make_room(void)
{
	char path[4096];
	uint64_t bytes = 0, most = room();
	DIR *d = directory(path, sizeof path) ? opendir(path) : NULL;
	struct aged *v = d ? malloc(FILES_MAX * sizeof *v) : NULL;
	uint32_t n = v ? list_files(d, v, &bytes) : 0;

	if (bytes > most || n == FILES_MAX) {
		qsort(v, n, sizeof *v, older);
		for (uint32_t i = 0; i < n && (bytes > most / 4 * 3 || n - i > FILES_MAX / 4 * 3); i++)
			if (unlinkat(dirfd(d), v[i].name, 0) == 0)
				bytes -= v[i].bytes;
	}
	free(v);
	if (d)
		closedir(d);
}

void cache_write(const struct prepared *p)
{
	char path[4096], temp[4128];
	uint8_t *result = NULL, *body = NULL;
	size_t result_bytes = 0, kernels = p->verdict.nkernels * sizeof *p->verdict.kernels;

	if (!file_name(p->digest, path, sizeof path) || guard_result_write(&p->result, &result, &result_bytes))
		return;
	struct file_head h = { FILE_MAGIC,  result_bytes, p->verdict.nkernels, p->verdict.const_bytes,
		               p->code_len, p->is_cubin,  p->verdict.ok,       { 0 } };
	size_t n = result_bytes + kernels + p->code_len;
	body = malloc(n + 1);
	if (!body)
		goto out;
	memcpy(body, result, result_bytes);
	if (kernels)
		memcpy(body + result_bytes, p->verdict.kernels, kernels);
	memcpy(body + result_bytes + kernels, p->code, p->code_len);
	sum_of(p->digest, &h, body, n, h.sum);
	snprintf(temp, sizeof temp, "%s.%d.%llx", path, (int)getpid(), (unsigned long long)(uintptr_t)p);
	int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		goto out;
	bool ok = write_all(fd, &h, sizeof h) && write_all(fd, body, n);
	ok = close(fd) == 0 && ok && rename(temp, path) == 0;
	if (!ok) {
		worker_log("cannot write %s: %s", path, strerror(errno));
		unlink(temp);
	}
	make_room();
out:
	free(result);
	free(body);
}
