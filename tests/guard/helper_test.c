/* helper_test.c - the helper process: what goes in comes out, and nothing a module or a compiler does hurts the worker.
 * The same binary plays the compiler, under names such as ptxas-hang (links in build/tests/fake/, all to the build
 * without sanitizers). */
#include "guard/helper.h"
#include "guard/sandbox.h"
#include "guard/verify.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int failed;

static void report(bool ok, const char *name, const char *why)
{
	printf("%sok helper/%s%s%s\n", ok ? "" : "not ", name, ok ? "" : ": ", ok ? "" : why);
	fflush(stdout);
	failed |= !ok;
}

/* --- as the compiler ------------------------------------------------------------------------- */

static int try_everything(void)
{
	int bad = 0;
	struct stat st;
#define DENIED(name, expr) do { if (expr) { fprintf(stderr, "%s was allowed\n", name); bad = 1; } } while (0)
	DENIED("socket", socket(AF_INET, SOCK_STREAM, 0) >= 0);
	DENIED("unix socket", socket(AF_UNIX, SOCK_STREAM, 0) >= 0);
	DENIED("fork", fork() >= 0);
	DENIED("kill", kill(getppid(), 0) == 0);
	DENIED("ptrace", ptrace(PTRACE_TRACEME, 0, 0, 0) == 0);
	DENIED("memfd_create", memfd_create("x", 0) >= 0);
	DENIED("the zygote's socket", fstat(3, &st) == 0 && S_ISSOCK(st.st_mode));
	DENIED("write to a file", open("/tmp/agileos_helper_test", O_CREAT | O_WRONLY, 0600) >= 0);
	DENIED("exec", execl("/bin/true", "true", NULL) == 0);
	return bad;
}

static int fake_compiler(const char *how, char **argv)
{
	char buffer[4096] = { 0 };
	int out = open(argv[3], O_WRONLY | O_TRUNC);
	if (!strcmp(how, "hang"))
		for (;;)
			nanosleep(&(struct timespec){ 1, 0 }, NULL);
	if (!strcmp(how, "spin"))
		for (;;)
			__asm__ volatile("");
	if (!strcmp(how, "crash"))
		raise(SIGSEGV), abort();
	if (!strcmp(how, "flood"))
		while (write(out, buffer, sizeof buffer) > 0)
			;
	if (!strcmp(how, "eat"))
		for (char *p;; p[0] = 1)
			if (!(p = malloc(1 << 20)))
				return fprintf(stderr, "no memory\n"), 1;
	if (!strcmp(how, "try") && try_everything())
		return 1;
	if (!strcmp(how, "fail"))
		return fprintf(stderr, "line one\nline two\n"), 1;
	return write(out, "CUBIN", 5) == 5 ? 0 : 1;
}

static const char *fake(const char *how)
{
	static char path[256];
	snprintf(path, sizeof path, "build/tests/fake/ptxas-%s", how);
	mkdir("build/tests/fake", 0777);
	unlink(path);
	if (symlink("../helper_test", path))
		printf("# %s: %s\n", path, strerror(errno));
	return path;
}

/* --- inputs ---------------------------------------------------------------------------------- */

static const char good_ptx[] =
	".version 8.0\n.target sm_80\n.address_size 64\n"
	".visible .entry twice(.param .u64 data, .param .u32 n)\n{\n"
	"\t.reg .pred %p<2>;\n\t.reg .b32 %r<8>;\n\t.reg .b64 %rd<8>;\n"
	"\tld.param.u64 %rd1, [data];\n\tld.param.u32 %r1, [n];\n\tmov.u32 %r2, %tid.x;\n"
	"\tsetp.ge.u32 %p1, %r2, %r1;\n\t@%p1 bra $end;\n"
	"\tcvta.to.global.u64 %rd2, %rd1;\n\tmul.wide.u32 %rd3, %r2, 4;\n\tadd.s64 %rd4, %rd2, %rd3;\n"
	"\tld.global.u32 %r3, [%rd4];\n\tadd.u32 %r3, %r3, %r3;\n\tst.global.u32 [%rd4], %r3;\n$end:\n\tret;\n}\n";

static struct guard_options options = {
	.report = true, .fence = true, .poll = true, .scrub = true, .target_sm = 90
};

struct got {
	struct guard_result r; struct guard_verdict v; char *text; size_t len; void *cubin; size_t cubin_len;
		char why[512]; int rc; };

static void run(struct guard_helper *h, const char *text, size_t len, bool compile, struct got *g)
{
	struct guard_input in = { text, len, "in.ptx" };
	memset(g, 0, sizeof *g);
	g->rc = guard_helper_run(h, &in, 1, &options, NULL, 0, compile, &g->r, &g->v, &g->text, &g->len, &g->cubin,
		&g->cubin_len, g->why);
}

static void release(struct got *g)
{
	if (g->rc == 0) {
		guard_result_free(&g->r);
		verify_free(&g->v);
	}
	free(g->text);
	free(g->cubin);
}

static bool works(struct guard_helper *h, char why[512])
{
	struct got g;
	run(h, good_ptx, strlen(good_ptx), false, &g);
	bool ok = g.rc == 0 && g.v.ok && g.v.nkernels == 1 && g.v.kernels[0].param_bytes == 12 && g.r.nkernels == 1 &&
		  !strcmp(g.r.kernels[0].name, "twice") && g.text && strstr(g.text, GUARD_BODY_MARK);
	snprintf(why, 512, "rc %d, %.480s", g.rc, g.why);
	release(&g);
	return ok;
}

/* --- cases ----------------------------------------------------------------------------------- */

/* With the option and without it. */
static void scrub(struct guard_helper *h)
{
	static const char text[] = ".version 8.0\n.target sm_90\n.address_size 64\n.visible .entry f()\n{\n"
		"\t.reg .b32 %r<2>;\n\t.shared .align 4 .b8 s[64];\n\tld.shared.u32 %r1, [s];\n\tret;\n}\n";
	struct got g;

	run(h, text, strlen(text), false, &g);
	report(g.rc == 0 && g.v.ok && strstr(g.text, "mov.b32 %gzz, 0;"), "scrub", g.why);
	release(&g);
	options.scrub = false;
	run(h, text, strlen(text), false, &g);
	report(g.rc == 0 && g.v.ok && !strstr(g.text, "%gzz"), "no_scrub", g.why);
	release(&g);
	options.scrub = true;
}

static void inputs(struct guard_helper *h)
{
	char why[512];
	struct got g;
	report(works(h, why), "accepted", why);
	scrub(h);

	const char *bad = ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry f()\n{\n"
		"\tmapa.u64 %rd1, %rd2, 0;\n\tret;\n}\n";
	run(h, bad, strlen(bad), false, &g);
	report(g.rc == -1 && strstr(g.why, "in.ptx:6: ") == g.why && !g.text, "refused_with_line", g.why);
	release(&g);

	run(h, "\0\377\033[31m", 7, false, &g);
	bool printable = true;
	for (const char *p = g.why; *p; p++)
		printable &= *p >= 0x20 && *p <= 0x7e;
	report(g.rc == -1 && printable, "binary_refused", g.why);
	release(&g);

	const char *bomb = ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry f()\n{\n"
		"\t.reg .b64 %h<2147483647>;\n\tret;\n}\n";
	run(h, bomb, strlen(bomb), false, &g);
	report(g.rc == -1, "register_bomb", g.why);
	release(&g);

	size_t n = 8 << 20;
	char *deep = malloc(n);
	memset(deep, '(', n);
	memcpy(deep, good_ptx, 47);
	run(h, deep, n, false, &g);
	report(g.rc < 0, "nesting_bomb", g.why);
	release(&g);
	memset(deep + 47, '\n', n - 47);
	run(h, deep, n, false, &g);
	report(g.rc == 0 || g.rc == -1, "empty_lines", g.why);
	release(&g);
	free(deep);

	run(h, good_ptx, (size_t)1 << 40, false, &g);
	report(g.rc == -1, "too_large", g.why);
	release(&g);
}

/* A compiler that misbehaves in way `how`: the call ends with rc, saying `says`, and the next one works. */
static void compiler(const char *how, int rc, const char *says)
{
	static const struct sandbox_limits limits = { .cpu_s = 1, .wall_s = 3, .memory_mib = 256, .output_mib = 16 };
	struct guard_helper *h = guard_helper_start_with(fake(how), &limits);
	char name[64], why[512];
	struct got g;
	snprintf(name, sizeof name, "compiler_%s", how);
	if (!h)
		return report(false, name, "the helper did not start");
	run(h, good_ptx, strlen(good_ptx), true, &g);
	bool ok = g.rc == rc && (rc == 0 ? g.cubin_len == 5 && !memcmp(g.cubin, "CUBIN", 5) :
		strstr(g.why, says) != NULL);
	snprintf(why, sizeof why, "rc %d, %.480s", g.rc, g.why);
	report(ok, name, why);
	release(&g);
	snprintf(name, sizeof name, "after_compiler_%s", how);
	report(works(h, why), name, why);
	guard_helper_stop(h);
}

/* So many kernels that the compiler starts threads. */
static void many_kernels(struct guard_helper *h)
{
	enum { KERNELS = 24 };
	char *text = malloc(KERNELS * 1024 + 200), *at = text;
	struct got g;

	at += sprintf(at, ".version 8.0\n.target sm_90\n.address_size 64\n");
	for (int i = 0; i < KERNELS; i++)
		at += sprintf(at,
			".visible .entry many%d(.param .u64 p) { .reg .b32 %%r<4>; .reg .b64 %%d<2>; .reg .pred %%q;\n"
			"ld.param.u64 %%d1, [p]; mov.u32 %%r1, %d;\nL: ld.global.u32 %%r2, [%%d1]; "
			"mad.lo.u32 %%r2, %%r2, %%r1, %d; st.global.u32 [%%d1], %%r2; sub.u32 %%r1, %%r1, 1; "
			"setp.ne.u32 %%q, %%r1, 0; @%%q bra L; ret; }\n", i, i + 9, i);
	run(h, text, (size_t)(at - text), true, &g);
	report(g.rc == 0 && g.cubin_len > 64 && !memcmp(g.cubin, "\177ELF", 4), "ptxas_threads", g.why);
	release(&g);
	free(text);
}

static void real_compiler(const char *ptxas)
{
	struct guard_helper *h = guard_helper_start(ptxas);
	struct got g;
	if (!h)
		return report(false, "ptxas", "the helper did not start");
	run(h, good_ptx, strlen(good_ptx), true, &g);
	report(g.rc == 0 && g.cubin_len > 64 && !memcmp(g.cubin, "\177ELF", 4), "ptxas", g.why);
	release(&g);
	many_kernels(h);
	guard_helper_stop(h);
}

/* The one child of process `parent`, 0 when there is none. */
static pid_t child_of(pid_t parent)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	pid_t found = 0;
	while (d && (e = readdir(d))) {
		char path[280], line[512] = { 0 };
		int ppid;
		snprintf(path, sizeof path, "/proc/%s/stat", e->d_name);
		FILE *f = e->d_name[0] >= '0' && e->d_name[0] <= '9' ? fopen(path, "r") : NULL;
		if (!f)
			continue;
		char *close = fgets(line, sizeof line, f) ? strrchr(line, ')') : NULL;
		if (close && sscanf(close, ") %*c %d", &ppid) == 1 && ppid == parent)
			found = (pid_t)atoi(e->d_name);
		fclose(f);
	}
	if (d)
		closedir(d);
	return found;
}

static void *hanging_call(void *arg)
{
	static struct got g;
	run(arg, good_ptx, strlen(good_ptx), true, &g);
	return &g;
}

/* Does process pid run the compiler?  A zombie has no command line. */
static bool compiles(pid_t pid)
{
	char path[64], name[128] = { 0 };
	snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
	FILE *f = pid ? fopen(path, "r") : NULL;
	bool yes = f && fgets(name, sizeof name, f) && strstr(name, "ptxas-hang");
	if (f)
		fclose(f);
	return yes;
}

static pid_t wait_for_compiler(struct guard_helper *h)
{
	for (int i = 0; i < 500; i++) {
		pid_t pid = child_of(guard_helper_pid(h));
		if (compiles(pid))
			return pid;
		nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
	}
	return 0;
}

static void deaths(void)
{
	static const struct sandbox_limits limits = { .cpu_s = 20, .wall_s = 20, .memory_mib = 1024, .output_mib = 16 };
	char why[512];
	for (int zygote = 0; zygote < 2; zygote++) {
		struct guard_helper *h = guard_helper_start_with(fake("hang"), &limits);
		pthread_t t;
		void *p;
		pthread_create(&t, NULL, hanging_call, h);
		pid_t pid = wait_for_compiler(h), z = guard_helper_pid(h);
		if (pid)
			kill(zygote ? z : pid, SIGKILL);
		pthread_join(t, &p);
		struct got *g = p;
		report(pid && g->rc == -2 && strstr(g->why, zygote ? "died" : "signal 9"), zygote ? "zygote_killed" :
			"child_killed", g->why);
		release(g);
		if (zygote) {
			nanosleep(&(struct timespec){ 0, 50000000 }, NULL);
			report(pid && !compiles(pid), "zygote_takes_children_along", "the compiler still runs");
		}
		report(works(h, why) && (guard_helper_pid(h) == z) == !zygote, zygote ? "zygote_restarted" :
			"after_child_killed", why);
		guard_helper_stop(h);
	}
	struct guard_helper *h = guard_helper_start(NULL);
	kill(guard_helper_pid(h), SIGKILL);
	nanosleep(&(struct timespec){ 0, 50000000 }, NULL);
	report(works(h, why), "zygote_dead_before_request", why);
	struct got g;
	run(h, good_ptx, strlen(good_ptx), true, &g);
	report(g.rc == -2, "no_compiler", g.why);
	release(&g);
	guard_helper_stop(h);
}

static void *parallel_call(void *arg)
{
	char why[512];
	bool ok = works(arg, why);
	if (!ok)
		printf("# %s\n", why);
	return ok ? arg : NULL;
}

static void parallel(struct guard_helper *h)
{
	enum { N = 50 };
	pthread_t t[N];
	int good = 0;
	char why[64];
	void *p;
	for (int i = 0; i < N; i++)
		pthread_create(&t[i], NULL, parallel_call, h);
	for (int i = 0; i < N; i++) {
		pthread_join(t[i], &p);
		good += p != NULL;
	}
	snprintf(why, sizeof why, "%d of %d", good, N);
	report(good == N, "parallel", why);
}

/* --- the filter of computing children -------------------------------------------------------- */

#ifndef __SANITIZE_ADDRESS__
static int filtered(int what)
{
	int fd[2];
	if (pipe(fd))
		return -1;
	pid_t pid = fork();
	if (pid == 0) {
		if (!sandbox_drop() || !sandbox_compute(fd[1]))
			_exit(9);
		char *p = malloc(50 << 20);
		bool ok = p && write(fd[1], "x", 1) == 1;
		free(p);
		/* as an allocator reserves memory and takes it into use */
		char *q = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		ok &= q != MAP_FAILED && !mprotect(q, 4096, PROT_READ | PROT_WRITE) && (*q = 1);
		switch (what) {
		case 1: open("/etc/passwd", O_RDONLY); break;
		case 2: ok &= write(1, "leak\n", 5) == 5; break;
		case 3: mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); break;
		case 4: fork(); break;
		case 5: kill(getppid(), 0); break;
		case 6: socket(AF_UNIX, SOCK_STREAM, 0); break;
		case 7: read(fd[0], &what, 1); break;
		case 8: mprotect(q, 4096, PROT_READ | PROT_EXEC); break;
		}
		_exit(ok ? 0 : 8);
	}
	int status;
	waitpid(pid, &status, 0);
	close(fd[0]);
	close(fd[1]);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void filter(void)
{
	static const char *const names[] = { "compute", "open", "write_elsewhere", "map_code", "fork", "kill",
		"socket", "read", "protect_code" };
	for (int i = 0; i < 9; i++) {
		char name[64], why[64];
		int got = filtered(i);
		snprintf(name, sizeof name, "filter_%s", names[i]);
		snprintf(why, sizeof why, "ended with %d", got);
		report(got == (i ? -SIGSYS : 0), name, why);
	}
}
#endif

int main(int argc, char **argv)
{
	const char *how = strstr(argv[0], "ptxas-");
	if (how && argc >= 5)
		return fake_compiler(how + 6, argv);
	if (guard_is_zygote(argc, argv))
		_exit(guard_zygote_main(argc, argv));
	struct guard_helper *h = guard_helper_start(NULL);
	if (!h)
		return report(false, "start", "the helper did not start"), 1;
	inputs(h);
	parallel(h);
	guard_helper_stop(h);
	compiler("good", 0, "");
	compiler("try", 0, "");
	compiler("fail", -1, "line one");
	compiler("hang", -2, "longer");
	compiler("spin", -2, "");
	compiler("crash", -2, "signal 11");
	compiler("flood", -2, "");
#ifndef __SANITIZE_ADDRESS__    /* no limit on addresses there */
	compiler("eat", -1, "no memory");
	filter();
#endif
	deaths();
	char ptxas[512];
	snprintf(ptxas, sizeof ptxas, "%s/bin/ptxas", getenv("CUDA_HOME") ? getenv("CUDA_HOME") : "/usr/local/cuda");
	if (access(ptxas, X_OK) == 0)
		real_compiler(ptxas);
	else
		printf("# no %s: the real compiler was not tried\n", ptxas);
	return failed;
}
