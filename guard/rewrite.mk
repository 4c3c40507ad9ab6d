# The rewriter: PTX in, guarded PTX out (guard.c is the pass list), and the trusted device runtime that guarded code calls.

REWRITE_SRC := $(addprefix guard/,callee.c compose.c define.c fence.c guard.c inline.c link.c ops.c poll.c print.c relocate.c \
	report.c result.c space.c)
REWRITE_OBJ := $(call objs,$(REWRITE_SRC))
REWRITE_ASAN_OBJ := $(call asan_objs,$(REWRITE_SRC))
