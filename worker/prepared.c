/* prepared.c - from client text to a loadable module: digest, memory, disk, else the guard's helper.
 *
 * One list for the whole worker, under one lock that is held only to search it.  Two sessions that bring the same new
 * text at once both have it made: the second result replaces nothing, it is simply another copy.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "build_id.h"
#include "prepared.h"
#include "limits.h"

#define GATES_MAX 64u
#define KEPT_MAX 128u /* unused entries kept in memory */
#define KEPT_BYTES (1ull << 30) /* and no more than this, of any client's texts */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct prepared *all;
static uint64_t clock_tick;

static void destroy(struct prepared *p)
{
	guard_result_free(&p->result);
	verify_free(&p->verdict);
	free(p->code);
	free(p);
}

static struct prepared *find(const uint8_t digest[DIGEST_BYTES])
{
	struct prepared *p;

	pthread_mutex_lock(&lock);
	for (p = all; p && memcmp(p->digest, digest, DIGEST_BYTES); p = p->next)
		continue;
	if (p) {
		p->refs++;
		p->used = ++clock_tick;
	}
	pthread_mutex_unlock(&lock);
	return p;
}

static uint64_t bytes_of(const struct prepared *p)
{
	return p->code_len + p->result.data_init + p->result.const_bytes;
}

/* The unused entry to be forgotten, out of the list; NULL: all may stay. */
static struct prepared *take_oldest(void)
{
	struct prepared **oldest = NULL, *gone = NULL;
	uint64_t bytes = 0;
	unsigned unused = 0;

	for (struct prepared **q = &all; *q; q = &(*q)->next) {
		if ((*q)->refs)
			continue;
		unused++;
		bytes += bytes_of(*q);
		if (!oldest || (*q)->used < (*oldest)->used)
			oldest = q;
	}
	if (oldest && (unused > KEPT_MAX || bytes > KEPT_BYTES)) {
		gone = *oldest;
		*oldest = gone->next;
	}
	return gone;
}

static void add(struct prepared *p)
{
	struct prepared *gone = NULL;

	pthread_mutex_lock(&lock);
	p->refs = 1;
	p->used = ++clock_tick;
	p->next = all;
	all = p;
	for (struct prepared *q; (q = take_oldest());) {
		q->next = gone;
		gone = q;
	}
	pthread_mutex_unlock(&lock);
	while (gone) {
		struct prepared *q = gone;
		gone = q->next;
		destroy(q);
	}
}

void prepared_put(struct prepared *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&lock);
	p->refs--;
	pthread_mutex_unlock(&lock);
}

const struct verify_kernel *prepared_verdict(const struct prepared *p, uint32_t index)
{
	for (uint32_t i = 0; i < p->verdict.nkernels; i++)
		if (p->verdict.kernels[i].index == index)
			return p->verdict.kernels + i;
	return NULL;
}

/* The parts of a result that decide what a launch does must agree with the verifier, which read them from the text
 * itself. */
static bool agrees(const struct worker *w, const struct prepared *p)
{
	if (w->unguarded)
		return true;
	if (!p->verdict.ok || p->result.const_bytes != p->verdict.const_bytes)
		return false;
	for (uint32_t i = 0; i < p->result.nkernels; i++) {
		const struct guard_kernel *k = p->result.kernels + i;
		const struct verify_kernel *v = prepared_verdict(p, k->index);
		if (!v || v->hidden_coop != k->hidden_coop)
			return false;
		uint32_t whole = v->hidden_coop ? ((k->param_bytes + 7) & ~7u) + 8 : k->param_bytes;
		if (k->param_bytes > 65536 || whole != v->param_bytes)
			return false;
	}
	return true;
}

struct request {
	struct guard_options opt;
	struct guard_gate gates[GATES_MAX];
	const char *ptx[GATES_MAX];
	uint32_t nptx;
};

static void describe(const struct worker *w, const struct guard_input *in, uint32_t n, bool wide, struct request *q)
{
	const char *texts[n];
	size_t lens[n];

	for (uint32_t i = 0; i < n; i++) {
		texts[i] = in[i].text;
		lens[i] = in[i].len;
	}
	memset(q, 0, sizeof *q);
	q->opt.wide = wide;
	q->opt.report = !w->no_report;
	q->opt.fence = !w->unguarded;
	q->opt.scrub = w->scrub;
	q->opt.poll = true;
	q->opt.meet = w->meet;
	q->opt.target_sm = w->sm;
	q->opt.gates = q->gates;
	q->opt.ngates = services_gates(w, texts, lens, n, q->gates, GATES_MAX, q->ptx, &q->nptx);
}

/* Everything the result depends on. */
static void name(const struct worker *w, const struct guard_input *in, uint32_t n, const struct request *q,
                 uint8_t out[DIGEST_BYTES])
{
	const struct guard_options *o = &q->opt;
	struct digest d;

	digest_start(&d);
	digest_text(&d, AG_BUILD_ID, strlen(AG_BUILD_ID));
	digest_u64(&d, GUARD_VERSION);
	digest_u64(&d, (uint64_t)o->target_sm);
	digest_u64(&d, (uint64_t)o->wide | (uint64_t)o->report << 1 | (uint64_t)o->fence << 2 | (uint64_t)o->poll << 3 |
	                       (uint64_t)(w->has_ptxas && !w->soft) << 4 | (uint64_t)o->scrub << 5 |
	                       (uint64_t)o->meet << 6);
	digest_u64(&d, (uint64_t)w->driver_version);
	digest_text(&d, guard_runtime_ptx, guard_runtime_ptx_len);
	for (uint32_t i = 0; i < o->ngates; i++)
		digest_text(&d, q->gates[i].name, strlen(q->gates[i].name));
	for (uint32_t i = 0; i < q->nptx; i++)
		digest_text(&d, q->ptx[i], strlen(q->ptx[i]));
	digest_u64(&d, n);
	for (uint32_t i = 0; i < n; i++)
		digest_text(&d, in[i].text, in[i].len);
	digest_end(&d, out);
}

static bool make(struct session *s, const struct guard_input *in, uint32_t n, const struct request *q,
                 struct prepared *p, char why[512])
{
	struct worker *w = s->w;
	char *composed = NULL;
	void *cubin = NULL;
	size_t composed_len = 0, cubin_len = 0;
	bool compile = w->has_ptxas && !w->soft;
	strcpy(why, "the client has gone");
	if (!helper_enter(s))
		return false;
	int r = guard_helper_run(w->helper, in, n, &q->opt, q->ptx, q->nptx, compile, &p->result, &p->verdict,
	                         &composed, &composed_len, &cubin, &cubin_len, why);
	helper_leave(s);

	if (r) {
		free(composed);
		free(cubin);
		return false;
	}
	p->is_cubin = cubin != NULL;
	if (cubin) {
		p->code = cubin;
		p->code_len = cubin_len;
		free(composed);
	} else {
		p->code = realloc(composed, composed_len + 1);
		p->code_len = composed_len;
		if (p->code)
			p->code[composed_len] = 0;
	}
	if (p->code)
		return true;
	strcpy(why, "out of memory");
	return false;
}

struct prepared *prepared_get(struct session *s, const struct guard_input *in, uint32_t n, bool wide, char why[512])
{
	struct worker *w = s->w;
	struct request q;
	uint8_t digest[DIGEST_BYTES];

	describe(w, in, n, wide, &q);
	name(w, in, n, &q, digest);
	struct prepared *p = find(digest);
	if (p)
		return p;
	p = calloc(1, sizeof *p);
	if (!p) {
		strcpy(why, "out of memory");
		return NULL;
	}
	memcpy(p->digest, digest, sizeof digest);
	bool stored = cache_read(digest, p);
	if (!stored) { /* a damaged file may have been read in part */
		guard_result_free(&p->result);
		verify_free(&p->verdict);
		free(p->code);
		memset(p, 0, sizeof *p);
		memcpy(p->digest, digest, sizeof digest);
	}
	if (!stored && !make(s, in, n, &q, p, why)) {
		destroy(p);
		return NULL;
	}
	if (!agrees(w, p)) {
		strcpy(why, "the guard's two processes disagree about this module");
		destroy(p);
		return NULL;
	}
	if (!stored)
		cache_write(p);
	add(p);
	return p;
}
