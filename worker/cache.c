/* cache.c - prepared modules on disk: $XDG_CACHE_HOME/agileos, ~/.cache/agileos, or /var/cache/agileos for root.
 *
 * A file is believed because only this user can have written it: the directory is ours with mode 0700, the file is
 * ours, regular, and writable by nobody else; its checksum finds damage.  Nothing fails for want of a cache.
 *
 * File: struct file_head, then the guard's result, the verifier's kernels, the code.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "prepared.h"
#include "session.h"

#define FILE_MAGIC 0x31444f4d53474100ull
#define FILE_MAX (1ull << 30)

struct file_head {
	uint64_t magic;
	uint64_t result_bytes, kernels, const_bytes, code_bytes;
	uint64_t is_cubin, verified;
	uint8_t sum[DIGEST_BYTES]; /* of all that follows the head, and of the head with sum zero */
};

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

static void sum_of(const struct file_head *h, const uint8_t *body, size_t n, uint8_t out[DIGEST_BYTES])
{
	struct file_head clean = *h;
	struct digest d;

	memset(clean.sum, 0, sizeof clean.sum);
	digest_start(&d);
	digest_add(&d, &clean, sizeof clean);
	digest_add(&d, body, n);
	digest_end(&d, out);
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
	sum_of(&h, body, n, sum);
	if (memcmp(sum, h.sum, sizeof sum) || !unpack(&h, body, p))
		goto damaged;
	ok = true;
	goto out;
damaged:
	worker_log("%s is damaged; it is made again", path);
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
	sum_of(&h, body, n, h.sum);
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
out:
	free(result);
	free(body);
}
