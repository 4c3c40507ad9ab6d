/* helper.h - the helper process: what guard.h does not show.
 *
 *   worker ──spawn──> zygote (re-executed binary, hidden subcommand guard-zygote; no privileges, one thread)
 *      request: 4 descriptors    ├─fork─> child 1: guard_rewrite        memory and one descriptor, seccomp
 *      over a seqpacket socket   ├─fork─> child 2: verify               the same
 *                                └─fork─> child 3: execs ptxas          files to read, seccomp, Landlock
 *
 * A request is a struct helper_job with a memfd to read from, one to write to, one for messages and a socket for the
 * answer.  The zygote forks, watches the clock, reaps, and answers how the child ended; what the child wrote the
 * worker copies out of the memfd once and then checks, because the child that wrote it had read hostile text.  The
 * zygote is a fresh process image, not a fork of a process that may have threads. */
#ifndef AG_GUARD_HELPER_H
#define AG_GUARD_HELPER_H

#include <sys/types.h>
#include "guard/guard.h"
#include "guard/sandbox.h"

/* cpu_s, wall_s: seconds of one child; memory_mib: its address space; output_mib: what it may write. */
#define HELPER_DEFAULT_LIMITS { .cpu_s = 60, .wall_s = 120, .memory_mib = 4096, .output_mib = 512 }

enum helper_kind { HELPER_REWRITE = 1, HELPER_VERIFY, HELPER_COMPILE };

struct helper_job { uint32_t kind, sm; };

/* How a child ended; sent by the zygote when it has been reaped. */
struct helper_end { uint32_t timed_out; int32_t status; /* as from waitpid */ };

/* The request's memfd: this, `ngates` gates, then for each piece u32 label bytes, u32 text bytes, label NUL, text. */
struct helper_request {
	uint32_t npieces, ngates;
	int32_t target_sm;
	uint8_t wide, report, fence, poll, scrub, meet;
};
struct helper_gate { char name[64]; uint8_t nparams, params[16], ret; };

/* Rewriting's memfd starts with this; accepted: guard_result_write's bytes follow. */
struct helper_rewritten { int32_t rc; uint32_t line, piece; char text[256]; };
/* Verifying's: then nkernels struct verify_kernel. */
struct helper_verdict { uint32_t ok, line, nkernels; uint64_t const_bytes; char reason[200]; };

#define HELPER_PLACES 16    /* children at a time; more requests wait in the socket */
#define HELPER_MAX_REQUEST (320u << 20)

/* As guard_helper_start, with other limits than the default. */
struct guard_helper *guard_helper_start_with(const char *ptxas, const struct sandbox_limits *limits);
/* The zygote's process, 0 when it is not running. */
pid_t guard_helper_pid(struct guard_helper *h);

/* A program that calls guard_helper_start must begin main() with:  if (guard_is_zygote(argc, argv)) return
 * guard_zygote_main(argc, argv); */
bool guard_is_zygote(int argc, char **argv);
int guard_zygote_main(int argc, char **argv);

/* guard/cli.c: `agileos guard ...`; argv[0] is the subcommand's name.  0 accepted, 3 refused, 1 wrong usage or
 * input/output. */
int guard_cli(int argc, char **argv);

#endif
