/* bulk.c - large copies between pageable memory and the stage: they bound the speed of pageable copies, the GPU's part
 * takes a fifth of the time.
 *
 * Out of the stage the copy goes past the caches: the data is not read again soon, and an ordinary store of a line
 * first reads it.  Into the stage it does not: the GPU reads it out of the cache.  A second thread, made at the first
 * large copy, takes half of the work.  A child of fork() has no session and copies nothing.
 */
#include "copy.h"

#include <immintrin.h>
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BULK (512u << 10)      /* shorter copies may find their data in a cache, or leave it there for the next */
#define SHARED (1u << 20)      /* copies as long as this are divided */
#define AHEAD 1024             /* bytes between a prefetch and its use */
#define SPINS 20000            /* some 50 us: the next part of the same copy comes sooner */

struct work { uint8_t *to; const uint8_t *from; size_t n; bool out; };

static struct {
	pthread_mutex_t lock;    /* of whoever gives work */
	bool running, refused;
	struct work work;
	_Atomic uint32_t given, done;   /* numbers of works; futexes */
} second = { .lock = PTHREAD_MUTEX_INITIALIZER };

__attribute__((target("avx2"))) static void stream_out(uint8_t *to, const uint8_t *from, size_t n)
{
	size_t head = -(uintptr_t)to & 31;

	memcpy(to, from, head);
	for (to += head, from += head, n -= head; n >= 128; to += 128, from += 128, n -= 128) {
		__m256i v[4];
		_mm_prefetch((const char *)from + AHEAD, _MM_HINT_NTA);
		_mm_prefetch((const char *)from + AHEAD + 64, _MM_HINT_NTA);
		for (int i = 0; i < 4; i++)
			v[i] = _mm256_loadu_si256((const __m256i *)from + i);
		for (int i = 0; i < 4; i++)
			_mm256_stream_si256((__m256i *)to + i, v[i]);
	}
	_mm_sfence(); /* before anyone is told of the copy */
	memcpy(to, from, n);
}

static void copy(const struct work *w)
{
	if (w->out && __builtin_cpu_supports("avx2"))
		stream_out(w->to, w->from, w->n);
	else
		memcpy(w->to, w->from, w->n);
}

static void sleep_until(_Atomic uint32_t *word, uint32_t not)
{
	for (unsigned i = 0; i < SPINS; i++) {
		if (atomic_load_explicit(word, memory_order_acquire) != not)
			return;
		agc_pause();
	}
	while (atomic_load_explicit(word, memory_order_acquire) == not)
		syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, not, NULL, NULL, 0);
}

static void advance_and_wake(_Atomic uint32_t *word)
{
	atomic_fetch_add_explicit(word, 1, memory_order_release);
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void *second_thread(void *arg)
{
	(void)arg;
	for (uint32_t n = 0;; n++) {
		sleep_until(&second.given, n);
		copy(&second.work);
		advance_and_wake(&second.done);
	}
	return NULL;
}

/* Under the lock.  Signals of the program are not for our thread. */
static bool start(void)
{
	pthread_t thread;
	sigset_t all, old;

	if (second.running || second.refused)
		return second.running;
	if (sysconf(_SC_NPROCESSORS_ONLN) > 2) {
		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, &old);
		second.running = pthread_create(&thread, NULL, second_thread, NULL) == 0;
		pthread_sigmask(SIG_SETMASK, &old, NULL);
	}
	second.refused = !second.running;
	if (second.running)
		pthread_detach(thread);
	return second.running;
}

void agc_bulk_copy(void *to, const void *from, size_t n, bool out)
{
	struct work mine = { to, from, n, out };

	if (n < BULK) {
		memcpy(to, from, n);
		return;
	}
	if (n < SHARED || pthread_mutex_trylock(&second.lock)) { /* somebody else's copy has the thread */
		copy(&mine);
		return;
	}
	if (start()) {
		size_t half = n / 2 & ~(size_t)4095;
		uint32_t before = atomic_load(&second.done);
		second.work = (struct work){ mine.to + half, mine.from + half, n - half, out };
		mine.n = half;
		advance_and_wake(&second.given);
		copy(&mine);
		sleep_until(&second.done, before);
	} else {
		copy(&mine);
	}
	pthread_mutex_unlock(&second.lock);
}
