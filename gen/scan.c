/* scan.c - what libclang knows of a header, as Lua tables.  No judgement is made here: semantics belong to the Lua
 * model.
 *
 *   scan { text = "#include <cuda.h>\n", args = { "-I...", ... } }
 *   -> { functions = { { name, file, line, doc, ret = T, params = { { name, type = T } } }, ... },   in order of first
 * declaration
 *        enums     = { [name] = { name, file, line, size, values = { { name, value, doc } } } },
 *        records   = { [key] = { name, kind = "struct"|"union", size, align, fields = { { name, offset, type = T, bits
 * } } } },
 *        typedefs  = { { name, file, line, type = T }, ... }, macros = { { name, file, line, body = "tokens ..." }, ...
 * } }
 *   T: { spell, k = void|int|float|ptr|enum|record|func|array|other, size, const, td = outermost typedef's name,
 * signed,
 *        to = T (ptr), of = T and n (array), ret and params = { T } (func), name (enum: its key; record: its key) }
 *
 * Any error the compiler reports is raised as a Lua error "file:line: text".
 */
#include <clang-c/Index.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "gen.h"

/* Stack slots of the tables being filled, fixed for one scan. */
enum { R_RESULT = 2, R_FUNCTIONS, R_ENUMS, R_RECORDS, R_TYPEDEFS, R_MACROS, R_SEEN };

struct scan {
	lua_State *L;
	CXTranslationUnit tu;
};

static void push_string(lua_State *L, CXString s)
{
	const char *c = clang_getCString(s);
	lua_pushstring(L, c ? c : "");
	clang_disposeString(s);
}

static void set_string(lua_State *L, const char *key, CXString s)
{
	push_string(L, s);
	lua_setfield(L, -2, key);
}

static void set_integer(lua_State *L, const char *key, lua_Integer v)
{
	lua_pushinteger(L, v);
	lua_setfield(L, -2, key);
}

static void set_location(lua_State *L, CXCursor c)
{
	CXFile file;
	unsigned line;
	clang_getExpansionLocation(clang_getCursorLocation(c), &file, &line, NULL, NULL);
	set_string(L, "file", clang_getFileName(file));
	set_integer(L, "line", line);
}

static void set_doc(lua_State *L, CXCursor c)
{
	CXString s = clang_Cursor_getRawCommentText(c);
	if (clang_getCString(s))
		set_string(L, "doc", s);
	else
		clang_disposeString(s);
}

static void push_type(struct scan *s, CXType t);
static void add_record(struct scan *s, CXType t);
static void add_enum(struct scan *s, CXCursor decl, const char *key);

static bool is_integer(enum CXTypeKind k)
{
	return k >= CXType_Bool && k <= CXType_Int128;
}

static void type_details(struct scan *s, CXType canon)
{
	lua_State *L = s->L;
	const char *k = "other";
	switch (canon.kind) {
	case CXType_Void:
		k = "void";
		break;
	case CXType_Pointer:
		k = "ptr";
		push_type(s, clang_getPointeeType(canon));
		lua_setfield(L, -2, "to");
		break;
	case CXType_ConstantArray:
	case CXType_IncompleteArray:
		k = "array";
		push_type(s, clang_getArrayElementType(canon));
		lua_setfield(L, -2, "of");
		set_integer(L, "n", clang_getArraySize(canon));
		break;
	case CXType_Enum:
		k = "enum";
		push_string(L, clang_getTypeSpelling(clang_getCursorType(clang_getTypeDeclaration(canon))));
		add_enum(s, clang_getTypeDeclaration(canon), lua_tostring(L, -1));
		lua_setfield(L, -2, "name");
		break;
	case CXType_Record:
		k = "record";
		push_string(L, clang_getTypeSpelling(clang_getCursorType(clang_getTypeDeclaration(canon))));
		lua_setfield(L, -2, "name");
		add_record(s, canon);
		break;
	case CXType_FunctionProto:
	case CXType_FunctionNoProto:
		k = "func";
		break;
	default:
		if (is_integer(canon.kind)) {
			k = "int";
			lua_pushboolean(L, canon.kind >= CXType_Char_S);
			lua_setfield(L, -2, "signed");
		} else if (canon.kind >= CXType_Float && canon.kind <= CXType_LongDouble) {
			k = "float";
		}
	}
	lua_pushstring(L, k);
	lua_setfield(L, -2, "k");
}

/* The pointee of a typedef'd pointer keeps its own sugar: details are taken one typedef at a time only for names. */
static void push_type(struct scan *s, CXType t)
{
	lua_State *L = s->L;
	luaL_checkstack(L, 20, "types nest too deeply");
	lua_newtable(L);
	set_string(L, "spell", clang_getTypeSpelling(t));
	CXCursor decl = clang_getTypeDeclaration(t);
	if (t.kind == CXType_Typedef)
		set_string(L, "td", clang_getCursorSpelling(decl));
	CXType canon = clang_getCanonicalType(t);
	lua_pushboolean(L, clang_isConstQualifiedType(t) || clang_isConstQualifiedType(canon));
	lua_setfield(L, -2, "const");
	long long size = clang_Type_getSizeOf(t);
	set_integer(L, "size", size < 0 ? 0 : size);
	if (t.kind == CXType_Pointer || t.kind == CXType_ConstantArray || t.kind == CXType_IncompleteArray)
		type_details(s, t);          /* keeps the sugar of what it points to */
	else
		type_details(s, canon);
}

static enum CXChildVisitResult enum_value(CXCursor c, CXCursor parent, CXClientData data)
{
	struct scan *s = data;
	(void)parent;
	if (clang_getCursorKind(c) != CXCursor_EnumConstantDecl)
		return CXChildVisit_Continue;
	lua_newtable(s->L);
	set_string(s->L, "name", clang_getCursorSpelling(c));
	set_integer(s->L, "value", clang_getEnumConstantDeclValue(c));
	set_doc(s->L, c);
	lua_rawseti(s->L, -2, (lua_Integer)lua_rawlen(s->L, -2) + 1);
	return CXChildVisit_Continue;
}

static void add_enum(struct scan *s, CXCursor decl, const char *key)
{
	lua_State *L = s->L;
	if (lua_getfield(L, R_ENUMS, key) == LUA_TNIL) {
		lua_newtable(L);
		lua_pushvalue(L, -1);
		lua_setfield(L, R_ENUMS, key);
		lua_pushstring(L, key);
		lua_setfield(L, -2, "name");
		set_location(L, decl);
		set_integer(L, "size", clang_Type_getSizeOf(clang_getCursorType(decl)));
		lua_newtable(L);
		clang_visitChildren(decl, enum_value, s);
		lua_setfield(L, -2, "values");
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
}

static enum CXVisitorResult record_field(CXCursor c, CXClientData data)
{
	struct scan *s = data;
	lua_newtable(s->L);
	set_string(s->L, "name", clang_getCursorSpelling(c));
	set_integer(s->L, "offset", clang_Cursor_getOffsetOfField(c) / 8);
	if (clang_Cursor_isBitField(c))
		set_integer(s->L, "bits", clang_getFieldDeclBitWidth(c));
	push_type(s, clang_getCursorType(c));
	lua_setfield(s->L, -2, "type");
	lua_rawseti(s->L, -2, (lua_Integer)lua_rawlen(s->L, -2) + 1);
	return CXVisit_Continue;
}

static void add_record(struct scan *s, CXType t)
{
	lua_State *L = s->L;
	CXCursor decl = clang_getTypeDeclaration(t);
	long long size = clang_Type_getSizeOf(t);
	if (size < 0)
		return;                      /* incomplete: a handle's tag */
	luaL_checkstack(L, 20, "records nest too deeply");
	push_string(L, clang_getTypeSpelling(clang_getCursorType(decl)));
	if (lua_getfield(L, R_RECORDS, lua_tostring(L, -1)) == LUA_TNIL) {
		lua_newtable(L);
		lua_pushvalue(L, -1);
		lua_setfield(L, R_RECORDS, lua_tostring(L, -4));
		lua_pushvalue(L, -3);
		lua_setfield(L, -2, "name");
		set_location(L, decl);
		set_integer(L, "size", size);
		set_integer(L, "align", clang_Type_getAlignOf(t));
		lua_pushstring(L, clang_getCursorKind(decl) == CXCursor_UnionDecl ? "union" : "struct");
		lua_setfield(L, -2, "kind");
		lua_newtable(L);
		clang_Type_visitFields(t, record_field, s);
		lua_setfield(L, -2, "fields");
		lua_pop(L, 1);
	}
	lua_pop(L, 2);
}

static void append(lua_State *L, int list)
{
	lua_rawseti(L, list, (lua_Integer)lua_rawlen(L, list) + 1);
}

static void add_function(struct scan *s, CXCursor c)
{
	lua_State *L = s->L;
	enum CX_StorageClass sc = clang_Cursor_getStorageClass(c);
	if (sc == CX_SC_Static || clang_Cursor_isFunctionInlined(c))
		return;
	push_string(L, clang_getCursorSpelling(c));
	if (lua_getfield(L, R_SEEN, lua_tostring(L, -1)) != LUA_TNIL) {
		lua_pop(L, 2);
		return;
	}
	lua_pop(L, 1);
	lua_newtable(L);
	lua_pushvalue(L, -2);
	lua_setfield(L, -2, "name");
	set_location(L, c);
	set_doc(L, c);
	push_type(s, clang_getCursorResultType(c));
	lua_setfield(L, -2, "ret");
	lua_newtable(L);
	int n = clang_Cursor_getNumArguments(c);
	for (int i = 0; i < n; i++) {
		CXCursor p = clang_Cursor_getArgument(c, (unsigned)i);
		lua_newtable(L);
		set_string(L, "name", clang_getCursorSpelling(p));
		push_type(s, clang_getCursorType(p));
		lua_setfield(L, -2, "type");
		lua_rawseti(L, -2, i + 1);
	}
	lua_setfield(L, -2, "params");
	lua_pushvalue(L, -1);
	append(L, R_FUNCTIONS);
	lua_setfield(L, R_SEEN, lua_tostring(L, -2));
	lua_pop(L, 1);
}

static void add_typedef(struct scan *s, CXCursor c)
{
	lua_State *L = s->L;
	lua_newtable(L);
	set_string(L, "name", clang_getCursorSpelling(c));
	set_location(L, c);
	CXType t = clang_getTypedefDeclUnderlyingType(c);
	push_type(s, t);
	CXType to = clang_getPointeeType(t);
	if (to.kind == CXType_Unexposed)
		to = clang_getCanonicalType(to);
	if (to.kind == CXType_FunctionProto) {       /* PFN_cuX_vN: the parameter spellings tell prototypes apart */
		set_string(L, "proto", clang_getTypeSpelling(clang_getCanonicalType(to)));
	}
	lua_setfield(L, -2, "type");
	append(L, R_TYPEDEFS);
}

static void add_macro(struct scan *s, CXCursor c)
{
	lua_State *L = s->L;
	if (clang_Cursor_isMacroBuiltin(c) || clang_Cursor_isMacroFunctionLike(c))
		return;
	lua_newtable(L);
	set_string(L, "name", clang_getCursorSpelling(c));
	set_location(L, c);
	CXToken *tokens;
	unsigned n;
	clang_tokenize(s->tu, clang_getCursorExtent(c), &tokens, &n);
	luaL_Buffer b;
	luaL_buffinit(L, &b);
	for (unsigned i = 1; i < n; i++) {
		if (i > 1)
			luaL_addchar(&b, ' ');
		CXString t = clang_getTokenSpelling(s->tu, tokens[i]);
		luaL_addstring(&b, clang_getCString(t));
		clang_disposeString(t);
	}
	luaL_pushresult(&b);
	lua_setfield(L, -2, "body");
	clang_disposeTokens(s->tu, tokens, n);
	append(L, R_MACROS);
}

static enum CXChildVisitResult top_level(CXCursor c, CXCursor parent, CXClientData data)
{
	struct scan *s = data;
	(void)parent;
	switch (clang_getCursorKind(c)) {
	case CXCursor_FunctionDecl:
		add_function(s, c);
		break;
	case CXCursor_TypedefDecl:
		add_typedef(s, c);
		break;
	case CXCursor_MacroDefinition:
		add_macro(s, c);
		break;
	case CXCursor_EnumDecl:
		push_string(s->L, clang_getTypeSpelling(clang_getCursorType(c)));
		add_enum(s, c, lua_tostring(s->L, -1));
		lua_pop(s->L, 1);
		break;
	case CXCursor_StructDecl:
	case CXCursor_UnionDecl:
		add_record(s, clang_getCursorType(c));
		break;
	case CXCursor_LinkageSpec:
	case CXCursor_UnexposedDecl:
		return CXChildVisit_Recurse;
	default:
		break;
	}
	return CXChildVisit_Continue;
}

/* Pushes the first error's "file:line: text"; false when there was none. */
static bool push_error(lua_State *L, CXTranslationUnit tu)
{
	unsigned n = clang_getNumDiagnostics(tu);
	for (unsigned i = 0; i < n; i++) {
		CXDiagnostic d = clang_getDiagnostic(tu, i);
		bool bad = clang_getDiagnosticSeverity(d) >= CXDiagnostic_Error;
		if (bad) {
			CXFile file;
			unsigned line;
			clang_getExpansionLocation(clang_getDiagnosticLocation(d), &file, &line, NULL, NULL);
			push_string(L, clang_getFileName(file));
			push_string(L, clang_getDiagnosticSpelling(d));
			lua_pushfstring(L, "%s:%d: %s", lua_tostring(L, -2), (int)line, lua_tostring(L, -1));
		}
		clang_disposeDiagnostic(d);
		if (bad)
			return true;
	}
	return false;
}

static void visit(struct scan *s)
{
	static const char *const names[] = { "functions", "enums", "records", "typedefs", "macros", "seen" };
	lua_State *L = s->L;
	lua_newtable(L);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		lua_newtable(L);
		lua_pushvalue(L, -1);
		lua_setfield(L, R_RESULT, names[i]);
	}
	clang_visitChildren(clang_getTranslationUnitCursor(s->tu), top_level, s);
	lua_settop(L, R_RESULT);
}

int gen_scan(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	const char *argv[64];
	int argc = 0;
	lua_getfield(L, 1, "text");
	const char *text = luaL_checkstring(L, -1);
	lua_getfield(L, 1, "args");
	luaL_checktype(L, -1, LUA_TTABLE);
	for (lua_Integer i = 1; lua_rawgeti(L, 3, i) == LUA_TSTRING; i++) {
		if (argc == 64)
			return luaL_error(L, "too many compiler arguments");
		argv[argc++] = lua_tostring(L, -1);
		lua_pop(L, 1);               /* stays alive in the table */
	}
	struct CXUnsavedFile file = { "agileos-scan.c", text, (unsigned long)strlen(text) };
	CXIndex index = clang_createIndex(0, 0);
	struct scan s = { L, NULL };
	enum CXErrorCode e = clang_parseTranslationUnit2(index, file.Filename, argv, argc, &file, 1,
		CXTranslationUnit_DetailedPreprocessingRecord | CXTranslationUnit_SkipFunctionBodies, &s.tu);
	if (e != CXError_Success) {
		clang_disposeIndex(index);
		return luaL_error(L, "libclang could not read the headers (error %d)", (int)e);
	}
	bool failed = push_error(L, s.tu);
	if (!failed) {
		lua_settop(L, 1);            /* the anchors of text and args are not needed any more */
		visit(&s);
	}
	clang_disposeTranslationUnit(s.tu);
	clang_disposeIndex(index);
	return failed ? lua_error(L) : 1;
}
