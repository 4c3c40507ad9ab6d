/* limits.h - how much one session may have of what all of them share: memory (the operator's option), streams, events,
 * modules, graphs, the guard's helper, lines of the log. Beyond a limit the call gets CUDA_ERROR_OUT_OF_MEMORY. */
#ifndef AG_WORKER_LIMITS_H
#define AG_WORKER_LIMITS_H

#include "session.h"

#define STREAMS_MAX 1024u         /* destroyed ones that still have work included; softgpu has a thread for each */
#define EVENTS_MAX (1u << 17)     /* destroyed ones that something may still name included */
#define MODULES_MAX 8192u         /* the same */
#define HOST_CHUNKS_MAX 512u      /* a descriptor each */
#define GRAPH_UNITS_MAX (1u << 20) /* graphs, their nodes and edges, and those of executable graphs */
#define GRAPH_DEPTH 16            /* child graphs within child graphs */
#define BLOCKS_MAX (1ull << 32)   /* of one grid; see limit_blocks */

/* Memory: device granules and arrays together, and pinned host memory, each up to worker.max_memory (0: no limit).
 * `more` is rounded as grants are. */
bool limit_device(const struct session *s, uint64_t more);
bool limit_host(const struct session *s, uint64_t more);
bool limit_grant(const struct session *s, uint64_t bytes, bool host);
/* The device's memory as this session sees it. */
void limit_meminfo(const struct session *s, uint64_t *avail, uint64_t *total);

/* A grid of more blocks runs for years, and a block that has no loop looks at no flag: nothing could end it. */
bool limit_blocks(const uint32_t grid[3]);

/* Graphs (generated handlers call these before they act). A count that goes only up is compared; past the limit
 * everything is counted anew. */
CUresult graph_room(struct session *s, uint64_t units);
CUresult graph_room_copy(struct session *s, ag_id graph);
CUresult graph_room_child(struct session *s, ag_id graph, uint64_t edges);
CUresult graph_room_exec(struct session *s, ag_id graph);
uint64_t graph_units(struct session *s, CUgraph g); /* with all its children; UINT64_MAX: too deep */

/* The helper's places: a session waits for one, first those whose user and process hold fewest. false: the session
 * ends. */
bool helper_enter(struct session *s);
void helper_leave(struct session *s);

/* May this user's sessions write another line of the log?  *lost: lines not written since the last one that was. */
bool log_allowed(uid_t uid, unsigned *lost);

#endif
