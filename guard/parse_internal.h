/* parse_internal.h - what the parser's files share: interned names, scopes, tokens and the state of one parse.
 *
 * Ownership: `struct parse` lives on ptx_parse()'s stack.  What ends up in the module is in the module's arena;
 * the growing buffers (struct vec) belong to the parse and are freed by ptx_parse() on every way out.
 *
 * Errors: parse_fail() writes the message and longjmps to ptx_parse().  Nothing may therefore own memory outside
 * the arena and the parse's own buffers while it calls another parser function. */
#ifndef AG_GUARD_PARSE_INTERNAL_H
#define AG_GUARD_PARSE_INTERNAL_H

#include <setjmp.h>
#include <string.h>

#include "ptx.h"

/* Directive words, text after the dot.  Words that are suffixes of instructions too (.global, .u32) are in mods.def. */
#define PARSE_KEYWORDS(X) \
	X(version) X(target) X(address_size) X(file) X(loc) X(section) X(pragma) X(alias) X(entry) X(func) \
	X(visible) X(extern) X(common) X(reg) X(align) X(attribute) X(managed) X(ptr) X(v3) \
	X(maxntid) X(reqntid) X(minnctapersm) X(maxnctapersm) X(maxnreg) X(local_maxnreg) X(noreturn) \
	X(reqnctapercluster) X(explicitcluster) X(maxclusterrank) X(blocksareclusters) \
	X(abi_preserve) X(abi_preserve_control) X(callprototype) X(calltargets) X(branchtargets)

enum parse_kw {
	KW_NONE,
#define X(name) KW_##name,
	PARSE_KEYWORDS(X)
#undef X
};

struct binding;

/* An interned string.  Exactly one exists per text and module; `text` is what the module's `const char *` point to. */
struct sym {
	struct sym *next_in_bucket;
	uint64_t hash;
	struct binding *top;       /* innermost binding of this name */
	struct binding *ranges;    /* innermost `name<N>` range whose prefix this is */
	uint32_t len;
	uint16_t op, mod;          /* enum ptx_op, enum ptx_mod; 0 when it is none */
	uint16_t sreg;             /* enum ptx_sreg + 1; SREG_TRIPLE for %tid and the like, which need an element */
	uint8_t kw;                /* enum parse_kw */
	char text[];
};

enum { SREG_TRIPLE = UINT16_MAX };

static inline struct sym *sym_of(const char *interned)
{
	return (struct sym *)(uintptr_t)(interned - offsetof(struct sym, text));
}

struct ptx_arena {
	struct arena_block *blocks;
	struct sym **buckets;
	size_t nbuckets, nsyms;
	uint64_t key[2];           /* hash key: chosen per module, so that names cannot be made to collide */
};

/* Find or make the interned string; arena_sym returns NULL when out of memory, arena_find when there is none. */
struct sym *arena_sym(struct ptx_arena *a, const char *s, size_t len);
struct sym *arena_find(const struct ptx_arena *a, const char *s, size_t len);
struct ptx_arena *arena_new(void);
void arena_free(struct ptx_arena *a);
void *arena_alloc(struct ptx_arena *a, size_t bytes);   /* zeroed, 16-byte aligned */

/* --- tokens ---------------------------------------------------------------------------------- */

enum tok_kind {
	/* Single characters are their own kind. */
	TOK_EOF = 256,
	TOK_IDENT,    /* sym */
	TOK_DOT,      /* .word or .word::word; sym is the text after the dot */
	TOK_INT,      /* u; is_unsigned when written with U or too large for 63 bits */
	TOK_F32,      /* 0f...: bits in u */
	TOK_F64,      /* 0d... or decimal: bits in u */
	TOK_STRING,   /* start, len: between the quotes */
	TOK_SINK,     /* _ */
	TOK_SHL, TOK_SHR, TOK_LE, TOK_GE, TOK_EQ, TOK_NE, TOK_ANDAND, TOK_OROR,
};

struct token {
	int kind;
	bool is_unsigned;
	bool glued;           /* no blank stands between the previous token and this one */
	uint32_t line;
	uint64_t u;
	struct sym *sym;
	const char *start;
	size_t len;
};

/* --- names ----------------------------------------------------------------------------------- */

enum bind_kind { BIND_REG, BIND_RANGE, BIND_VAR, BIND_PARAM, BIND_BODY_PARAM, BIND_FUNC, BIND_LABEL, BIND_TABLE };

/* One meaning of one name in one scope. */
struct binding {
	struct binding *outer;      /* next enclosing meaning of the same name */
	struct binding *in_scope;   /* next binding of the same scope */
	struct sym *sym;
	uint8_t kind;               /* enum bind_kind */
	uint8_t depth;              /* 0: module, 1: function, more: nested blocks */
	uint8_t vec;                /* REG, RANGE: elements */
	uint8_t dims;               /* VAR: array dimensions */
	enum ptx_type type;         /* REG, RANGE */
	uint32_t index;             /* REG: first register; LABEL, TABLE, BODY_PARAM: index; RANGE: count */
	uint32_t line;
	struct binding *range;      /* REG: the range that it was made from, or NULL */
	union {
		struct ptx_var *var;
		struct ptx_param *param;
		struct ptx_func *func;
	} u;
};

/* A use of a label before its scope has ended: only then is it known which label the name means. */
struct label_ref {
	struct label_ref *next;
	struct sym *sym;
	uint32_t *slot;
	uint32_t line;
};

struct scope {
	struct binding *bindings;
	struct label_ref *refs;
	uint32_t line;
};

/* A buffer that grows: `n` items of `size` bytes. */
struct vec {
	void *data;
	size_t n, cap, size;
};

struct parse {
	struct ptx_module *m;
	struct ptx_arena *arena;
	struct ptx_error *err;
	jmp_buf fail;

	/* lexer */
	const char *text, *p, *end;
	uint32_t line;
	struct token tok;           /* the current token */

	/* scopes; [0] is the module's */
	struct scope scopes[PTX_MAX_NEST + 2];
	unsigned depth;

	/* the function being parsed */
	struct ptx_func *fn;
	struct vec regs, insts, labels, tables, vars, body_params, nounroll;
	uint64_t declared_regs;     /* ranges counted in full */
	uint32_t loc_file, loc_line;

	/* the module */
	struct vec mvars, mfuncs, files;
	struct vec init, relocs;    /* of the variable being parsed */
	struct vec params;          /* of the parameter list being parsed */
	struct vec names;           /* of the target list being parsed: struct sym * */
	uint64_t total_insts;
	uint64_t names_left;        /* variables and labels that `name<N>` may still make */
};

/* --- shared by the parser's files ------------------------------------------------------------- */

_Noreturn void parse_fail(struct parse *ps, uint32_t line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
_Noreturn void parse_unexpected(struct parse *ps, const char *wanted);
void *parse_alloc(struct parse *ps, size_t bytes);               /* never NULL */
void *parse_copy(struct parse *ps, const struct vec *v);         /* into the arena; NULL when empty */
void *vec_push(struct parse *ps, struct vec *v);                 /* a new zeroed item */
struct sym *parse_intern(struct parse *ps, const char *s, size_t len);

/* lex.c */
void lex_next(struct parse *ps);
struct token lex_peek(struct parse *ps);
bool lex_accept(struct parse *ps, int kind);
void lex_expect(struct parse *ps, int kind, const char *what);
bool lex_accept_kw(struct parse *ps, enum parse_kw kw);
uint64_t lex_uint(struct parse *ps, uint64_t max, const char *what);
struct sym *lex_name(struct parse *ps, const char *what);

/* parse_expr.c */
enum cval_kind { CVAL_S64, CVAL_U64, CVAL_F32, CVAL_F64 };
struct cval {
	enum cval_kind kind;
	uint64_t bits;
};
bool expr_starts(const struct parse *ps);
struct cval expr_parse(struct parse *ps);
int64_t expr_parse_int(struct parse *ps);
double cval_double(struct cval v);

/* parse_scope.c */
void scope_push(struct parse *ps, uint32_t line);
void scope_pop(struct parse *ps);
struct binding *scope_bind(struct parse *ps, struct sym *sym, enum bind_kind kind, uint32_t line);
struct binding *scope_lookup(struct parse *ps, struct sym *sym, uint32_t line);
void scope_range(struct parse *ps, struct sym *prefix, uint32_t count, enum ptx_type type, uint8_t vec, uint32_t line);
uint32_t scope_new_reg(struct parse *ps, struct sym *sym, enum ptx_type type, uint8_t vec, uint32_t line);
void scope_label_ref(struct parse *ps, struct sym *sym, uint32_t *slot, uint32_t line);

/* parse_decl.c */
struct decl {                    /* what precedes a declared name */
	enum ptx_space space;
	enum ptx_linkage linkage;
	enum ptx_type type;
	uint8_t vec;
	bool managed, has_space;
	uint32_t align;              /* 0: natural */
	uint8_t ptr_space;
	uint32_t ptr_align;
	uint32_t line;
};
enum { DECL_MAX_DIMS = 8, DECL_MAX_ALIGN = 1 << 20 };
struct dims {
	uint64_t size[DECL_MAX_DIMS + 1];  /* the last one may be the vector's */
	unsigned n;
	bool unsized;                /* first dimension is [] */
};
void decl_spec(struct parse *ps, struct decl *d, bool is_param);
void decl_dims(struct parse *ps, struct dims *dims);
uint64_t decl_bytes(struct parse *ps, const struct decl *d, const struct dims *dims, const char *name);
uint32_t decl_align(const struct decl *d);
enum ptx_linkage decl_linkage(struct parse *ps);
bool decl_attribute(struct parse *ps);     /* .attribute(...): true when it says .managed */
void decl_statement(struct parse *ps, struct decl *d);
unsigned decl_elem_bytes(enum ptx_type t);
struct sym *decl_numbered(struct parse *ps, struct sym *prefix, uint32_t i);

/* parse_init.c */
void init_parse(struct parse *ps, struct ptx_var *var, struct dims *dims);

/* parse_func.c */
void func_parse(struct parse *ps, bool is_entry, enum ptx_linkage linkage);
void func_param_list(struct parse *ps, struct ptx_param **out, uint32_t *n, bool is_ret, bool bind);
void func_prototype(struct parse *ps, struct ptx_func *f);
void func_layout(struct ptx_func *f);

/* parse_body.c, parse_operand.c */
void body_parse(struct parse *ps);
void operand_inst(struct parse *ps, struct ptx_inst *in);

/* parse.c */
bool parse_pragma(struct parse *ps);        /* true when it says "nounroll" */

#endif
