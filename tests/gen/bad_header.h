/* expect: tests/gen/bad_header.h:5: unknown type name 'miniNothing' */
typedef enum miniResult { MINI_OK = 0 } CUresult;

/* The type is not declared. */
CUresult miniCreate(miniNothing *thing);
