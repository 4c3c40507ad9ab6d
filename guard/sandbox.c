/* sandbox.c - privileges given up by the helper's children, as raw seccomp filters, Landlock rules and resource limits.
 *
 * Children that rewrite and verify (sandbox_compute) can ask the kernel for memory, write to one descriptor and end;
 * they see no files, no time but the CPU's, no other process.  What remains to one that was taken over: a wrong answer
 * (the worker checks it), its limits' worth of CPU and memory, and bugs in the few system calls left.
 *
 * The child that runs ptxas (sandbox_compiler) must load a program and open files.  Its filter has no sockets, no
 * ptrace, no signals to others, no new processes, no mounts, no namespaces, no io_uring, bpf or keys; Landlock, where
 * the kernel has it, leaves it reading the system's libraries and writing nothing but what it was handed as a
 * descriptor.  Without Landlock it can read what the user may read (root becomes nobody first) and could write there;
 * it has no way to send it anywhere but into its output.  Neither filter stops covert channels or a kernel bug. */
#include "guard/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define NOBODY 65534

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#error "no seccomp architecture known for this machine"
#endif

bool sandbox_drop(void)
{
	struct rlimit none = { 0, 0 };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || setrlimit(RLIMIT_CORE, &none))
		return false;
	if (geteuid() == 0 && (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) ||
		setresuid(NOBODY, NOBODY, NOBODY)))
		return false;
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0;
}

bool sandbox_limit(const struct sandbox_limits *l)
{
	const struct { int what; rlim_t value; } rows[] = {
		{ RLIMIT_CPU, l->cpu_s }, { RLIMIT_FSIZE, (rlim_t)l->output_mib << 20 }, { RLIMIT_NOFILE, 64 },
		{ RLIMIT_MEMLOCK, 0 },
		{ RLIMIT_MSGQUEUE, 0 }, { RLIMIT_STACK, 64 << 20 },
#ifndef __SANITIZE_ADDRESS__    /* whose shadow takes terabytes of addresses */
		{ RLIMIT_AS, (rlim_t)l->memory_mib << 20 },
#endif
	};
	for (size_t i = 0; i < COUNT(rows); i++) {
		/* a second more until the hard limit, so that the soft one's signal tells what happened */
		struct rlimit r = { rows[i].value, rows[i].value + (rows[i].what == RLIMIT_CPU) };
		if (setrlimit(rows[i].what, &r))
			return false;
	}
	return true;
}

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RET(action) BPF_STMT(BPF_RET | BPF_K, action)
#define IS(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
#define BITS(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, value, yes, no)
/* The architecture, and no x32 numbers: they alias others. */
#define PROLOGUE LOAD(arch), IS(ARCH, 1, 0), RET(SECCOMP_RET_KILL_PROCESS), LOAD(nr), \
	BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000u, 0, 1), RET(SECCOMP_RET_KILL_PROCESS)
#define ALLOW(name) IS(__NR_##name, 0, 1), RET(SECCOMP_RET_ALLOW)

static bool install(const struct sock_filter *filter, size_t n)
{
	struct sock_fprog prog = { .len = (unsigned short)n, .filter = (struct sock_filter *)filter };
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0) == 0;
}

bool sandbox_compute(int out_fd)
{
	const struct sock_filter filter[] = {
		PROLOGUE,
		ALLOW(munmap), ALLOW(mremap), ALLOW(brk), ALLOW(madvise), ALLOW(futex), ALLOW(rt_sigreturn),
		ALLOW(exit), ALLOW(exit_group),
		ALLOW(getrandom), ALLOW(clock_gettime),
		/* qsort asks for the size of memory before it sorts more than 1 KiB */
		ALLOW(sysinfo),
		/* an allocator that looks for NUMA nodes finds none */
		IS(__NR_access, 0, 1), RET(SECCOMP_RET_ERRNO | ENOENT),
		/* write: to the result only (the request was mapped, there is nothing to read); mmap, mprotect (an
		 * allocator takes into use what it has reserved): nothing to execute */
		IS(__NR_write, 0, 4), LOAD(args[0]), IS((uint32_t)out_fd, 0, 1), RET(SECCOMP_RET_ALLOW),
			RET(SECCOMP_RET_KILL_PROCESS),
		IS(__NR_mmap, 1, 0), IS(__NR_mprotect, 0, 4), LOAD(args[2]), BITS(PROT_EXEC, 0, 1),
			RET(SECCOMP_RET_KILL_PROCESS), RET(SECCOMP_RET_ALLOW),
		RET(SECCOMP_RET_KILL_PROCESS),
	};
#ifdef __SANITIZE_ADDRESS__
	/* The sanitizer reports through calls of its own; its build checks memory, the other one the filter. */
	(void)filter;
	(void)out_fd;
	return true;
#else
	return install(filter, COUNT(filter));
#endif
}

/* Landlock: reading below the system's folders, running the one program; nothing else by path.  Descriptors are not
 * concerned. */
static void lock_paths(int program_fd)
{
	static const char *const readable[] = { "/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/dev/null",
		"/dev/urandom", "/sys/devices/system/cpu" };
	struct landlock_ruleset_attr all = { .handled_access_fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1 };
	int rules = (int)syscall(__NR_landlock_create_ruleset, &all, sizeof all, 0);
	if (rules < 0)
		return;     /* the kernel has none; see the head of this file */
	for (size_t i = 0; i < COUNT(readable) + 1; i++) {
		bool program = i == COUNT(readable), dir = i < 3 || i == COUNT(readable) - 1;
		int fd = program ? program_fd : open(readable[i], O_PATH | O_CLOEXEC);
		struct landlock_path_beneath_attr rule = {
			.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE | (dir ? LANDLOCK_ACCESS_FS_READ_DIR : 0) |
					  (i < 3 || program ? LANDLOCK_ACCESS_FS_EXECUTE : 0),
			.parent_fd = fd,
		};
		if (fd >= 0)
			syscall(__NR_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
		if (fd >= 0 && !program)
			close(fd);
	}
	syscall(__NR_landlock_restrict_self, rules, 0);
	close(rules);
}

bool sandbox_compiler(int program_fd)
{
	const struct sock_filter filter[] = {
		PROLOGUE,
		ALLOW(read), ALLOW(write), ALLOW(pread64), ALLOW(pwrite64), ALLOW(readv), ALLOW(writev), ALLOW(lseek),
		ALLOW(close), ALLOW(fcntl),
		ALLOW(dup), ALLOW(openat), ALLOW(newfstatat), ALLOW(fstat), ALLOW(statx), ALLOW(faccessat),
		ALLOW(faccessat2),
		ALLOW(readlinkat), ALLOW(getdents64), ALLOW(ftruncate), ALLOW(getcwd), ALLOW(unlinkat), ALLOW(mkdirat),
#ifdef __NR_open
		ALLOW(open), ALLOW(stat), ALLOW(lstat), ALLOW(access), ALLOW(readlink), ALLOW(arch_prctl),
			ALLOW(unlink), ALLOW(time),
#endif
		ALLOW(mmap), ALLOW(munmap), ALLOW(mremap), ALLOW(mprotect), ALLOW(madvise), ALLOW(brk), ALLOW(futex),
			ALLOW(rseq),
		ALLOW(set_tid_address), ALLOW(set_robust_list), ALLOW(rt_sigaction), ALLOW(rt_sigprocmask),
		ALLOW(rt_sigreturn), ALLOW(sigaltstack),
		ALLOW(exit), ALLOW(exit_group), ALLOW(execveat), ALLOW(sched_yield), ALLOW(sched_getaffinity),
		ALLOW(sched_get_priority_max),
		ALLOW(sched_get_priority_min), ALLOW(getrandom), ALLOW(clock_gettime), ALLOW(clock_getres),
		ALLOW(gettimeofday), ALLOW(times),
		ALLOW(getrusage), ALLOW(sysinfo), ALLOW(uname), ALLOW(getpid), ALLOW(gettid), ALLOW(getuid),
		ALLOW(geteuid), ALLOW(getgid),
		ALLOW(getegid), ALLOW(nanosleep), ALLOW(clock_nanosleep), ALLOW(umask),
		/* prlimit64: of itself; clone: threads; clone3 hides its flags from us, libc then uses clone */
		IS(__NR_prlimit64, 0, 4), LOAD(args[0]), IS(0, 0, 1), RET(SECCOMP_RET_ALLOW),
			RET(SECCOMP_RET_ERRNO | EPERM),
		IS(__NR_clone, 0, 4), LOAD(args[0]), BITS(CLONE_THREAD, 0, 1), RET(SECCOMP_RET_ALLOW),
		RET(SECCOMP_RET_ERRNO | EPERM),
		IS(__NR_clone3, 0, 1), RET(SECCOMP_RET_ERRNO | ENOSYS),
		RET(SECCOMP_RET_ERRNO | EPERM),
	};
	lock_paths(program_fd);
	return install(filter, COUNT(filter));
}
