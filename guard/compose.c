/* compose.c - what the compiler sees: header, trusted runtime, gates, then the guarded body.
 *
 * The declarations before the body's marker are dropped: runtime and gates define those names. */
#include "guard/guard.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *body_of(const char *text, size_t len, size_t *body_len)
{
	const char *p = memmem(text, len, GUARD_BODY_MARK, strlen(GUARD_BODY_MARK));

	if (p)
		*body_len = len - (size_t)(p - text);
	return p;
}

char *guard_compose(const char *guarded, size_t len, int target_sm, const char *const *gate_ptx, uint32_t ngate_ptx,
	size_t *out_len)
{
	char head[96];
	size_t body_len, total, at = 0;
	const char *body = body_of(guarded, len, &body_len);
	char *out;

	if (!body)
		return NULL;
	snprintf(head, sizeof(head), ".version 9.0\n.target sm_%d\n.address_size 64\n", target_sm);
	total = strlen(head) + guard_runtime_ptx_len + body_len + 1;
	for (uint32_t i = 0; i < ngate_ptx; i++)
		total += strlen(gate_ptx[i]) + 1;
	out = malloc(total);
	if (!out)
		return NULL;
	at = strlen(strcpy(out, head));
	memcpy(out + at, guard_runtime_ptx, guard_runtime_ptx_len);
	at += guard_runtime_ptx_len;
	for (uint32_t i = 0; i < ngate_ptx; i++) {
		size_t n = strlen(gate_ptx[i]);

		memcpy(out + at, gate_ptx[i], n);
		at += n;
		out[at++] = '\n';
	}
	memcpy(out + at, body, body_len);
	at += body_len;
	out[at] = 0;
	*out_len = at;
	return out;
}
