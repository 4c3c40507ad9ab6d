/* soft_graph.h - graphs: nodes in the order they were added, each with its operation as a template.
 *
 * Ownership: a graph owns its nodes; a node holds a reference to its template, or to its child graph, or names an
 * event. An executable graph holds references to templates only: it is independent of the graph it was made from. */
#ifndef AG_SOFT_GRAPH_H
#define AG_SOFT_GRAPH_H

#include "soft_internal.h"

struct soft_graph;

struct soft_node {
	struct soft_obj obj;
	struct soft_graph *graph;
	CUgraphNodeType type;
	struct soft_op *op;              /* KERNEL, MEMCPY, MEMSET, HOST, BATCH_MEM_OP: the template */
	void **pointers;                 /* KERNEL: what GetParams hands out */
	CUevent event;                   /* EVENT_RECORD, WAIT_EVENT */
	struct soft_graph *child;        /* GRAPH */
	struct soft_node **deps;
	unsigned ndeps;
	struct soft_node *cloned_from;   /* identity only; never followed */
	unsigned mark;                   /* scratch of walks; index in the graph */
};

struct soft_graph {
	struct soft_obj obj;
	struct soft_ctx *ctx;
	struct soft_node **nodes;
	unsigned n, cap;
	bool is_child;                   /* owned by a node: cannot be destroyed by itself */
	struct soft_user_ref { struct soft_user_ref *next; struct soft_user_object *object; unsigned count; } *users;
};

CUresult soft_graph_new(struct soft_ctx *c, struct soft_graph **out);
CUresult soft_graph_clone(const struct soft_graph *g, struct soft_graph **out);
struct soft_graph *soft_graph_find(CUgraph h);
struct soft_node *soft_node_find(CUgraphNode h);
/* Takes the reference to `op`, also when it fails. */
CUresult soft_node_add(struct soft_graph *g, CUgraphNodeType type, struct soft_op *op, struct soft_node *const *deps,
	unsigned ndeps, struct soft_node **out);
CUresult soft_node_depend(struct soft_node *n, struct soft_node *on); /* twice is once */
/* The operation of a kernel, copy, fill or host node, from the parameters of its kind. */
CUresult soft_graph_op(struct soft_ctx *c, CUgraphNodeType type, const void *params, struct soft_op **out);
/* Order of execution: indices into g->nodes; CUDA_ERROR_INVALID_VALUE when there is a cycle. */
CUresult soft_graph_order(struct soft_graph *g, unsigned *order);

#endif
