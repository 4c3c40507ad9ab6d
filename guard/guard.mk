# The PTX parser: text to struct ptx_module.  The guard, softgpu and their tests link $(PTX_OBJ).

PTX_SRC := $(addprefix guard/,lex.c parse.c parse_body.c parse_decl.c parse_expr.c parse_func.c parse_init.c \
	parse_operand.c parse_scope.c ptx_dump.c ptx_mem.c ptx_tables.c)
PTX_OBJ := $(call objs,$(PTX_SRC))
PTX_ASAN_OBJ := $(call asan_objs,$(PTX_SRC))
