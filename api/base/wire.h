/* wire.h - what client and worker share: the shared-memory segment, message heads, object ids, the handshake.
 *
 * TRUST.  The client may write anything anywhere in the segment at any time.  The worker copies each message out once
 * (worker/ring.c, the only file that reads ring bytes), never reads back what it wrote, and keeps its own positions
 * in private memory. The client trusts the worker.
 *
 * FLOW.  One producer lock per process (api/client/ring.c), one consumer thread per session.  Messages are 8-byte
 * aligned, contiguous (op AG_OP_pad fills the end of the ring), at most AG_MSG_MAX bytes.  head and tail count bytes
 * ever written and consumed. Asynchronous messages (slot == AG_NO_SLOT) get no answer: a failure is stored in
 * `async_error` (first one wins until the client takes it with exchange 0). Calls carry a slot, owned by one client
 * thread at a time, and a sequence number: the worker writes status, bytes and the reply area of that slot, then
 * stores `done = seq` with release and wakes the futex when `waiting`. Completion of GPU work is not a reply: the
 * client names a word inside its window's host memory and a value (op signal, event_record); the GPU (or softgpu)
 * stores the value there in stream order; softgpu also wakes a futex on the low half.
 */
#ifndef AG_BASE_WIRE_H
#define AG_BASE_WIRE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define AG_WIRE_MAGIC   0x534f4741u      /* "AGOS" */
#define AG_WIRE_VERSION 2u
#define AG_RING_BYTES   (4u << 20)       /* power of two */
#define AG_MSG_MAX      (256u << 10)
#define AG_SLOTS        256u
#define AG_REPLY_BYTES  (16u << 10)      /* per slot */
#define AG_NO_SLOT      0xffffu
#define AG_MAX_DEVICES  8u
#define AG_MAX_ATTRS    256u             /* CUdevice_attribute values snapshotted per device */

/* Not a CUresult: what a check returns for a message no correct client sends; the session ends. */
#define AG_MALFORMED    0x7fffffff

struct ag_head {                         /* first 16 bytes of every message */
	uint32_t bytes;                  /* whole message, head included, multiple of 8 */
	uint16_t op;                     /* enum ag_op */
	uint16_t slot;                   /* AG_NO_SLOT: asynchronous */
	uint32_t seq;                    /* of the slot */
	uint32_t tail;                   /* bytes of the variable part that follows the fixed struct (unpadded) */
};

struct ag_slot {
	_Atomic uint32_t done;           /* futex; last completed seq */
	_Atomic uint32_t waiting;        /* client is in FUTEX_WAIT */
	uint32_t status;                 /* CUresult */
	uint32_t bytes;                  /* reply: fixed struct, then tail */
};

struct ag_device_info {
	char name[256];
	uint8_t uuid[16];
	uint64_t total_mem;
	int32_t attr[AG_MAX_ATTRS];      /* index: CUdevice_attribute; meaningful where attr_ok */
	uint8_t attr_ok[AG_MAX_ATTRS];
	uint32_t is_soft;
	uint32_t pad;
};

struct ag_shm {
	uint32_t magic, version;
	uint32_t ring_bytes, slots, reply_bytes, session;
	uint32_t ndevices, driver_version;   /* 13000 */
	uint64_t ring_off, reply_off, total_bytes;
	_Alignas(64) _Atomic uint64_t head;      /* client */
	_Alignas(64) _Atomic uint64_t tail;      /* worker */
	/* Futex; the worker sets 1 before sleeping on it, the client exchanges 0 and wakes. */
	_Alignas(64) _Atomic uint32_t doorbell;
	_Alignas(64) _Atomic uint32_t ended;     /* CUresult every call returns from now on; 0 while alive */
	_Atomic uint32_t async_error;            /* CUresult */
	_Alignas(64) struct ag_slot slot[AG_SLOTS];
	struct ag_device_info device[AG_MAX_DEVICES];
	/* ring_off: the ring; reply_off: slots * reply_bytes */
};

/* --- object ids ------------------------------------------------------------------------------
 * A handle the program holds (CUstream, CUevent, ...) is an id, never a pointer: kind << 56 | generation << 32 |
 * index. The client chooses the id of what it creates (index from its free list, generation one more than the last
 * use of the index); the worker accepts it only when its slot is empty and the generation is larger than the slot's.
 * 0 is never an id. */
enum ag_kind {
	AG_K_NONE, AG_K_STREAM, AG_K_EVENT, AG_K_MODULE, AG_K_FUNCTION, AG_K_LIBRARY, AG_K_KERNEL,
	AG_K_GRAPH, AG_K_GRAPHNODE, AG_K_GRAPHEXEC, AG_K_ARRAY, AG_K_MIPMAP, AG_K_TEXTURE, AG_K_SURFACE,
	AG_K_MEMHANDLE, AG_K_MEMPOOL, AG_K_CONTEXT, AG_K_LINK, AG_K_USEROBJECT, AG_K_EXTMEM, AG_K_EXTSEM,
	AG_K_GREENCTX, AG_K_COUNT
};
typedef uint64_t ag_id;
#define AG_ID(kind, gen, index) ((uint64_t)(kind) << 56 | (uint64_t)((gen) & 0xffffffu) << 32 | (uint32_t)(index))
#define AG_ID_KIND(id)  ((unsigned)((id) >> 56))
#define AG_ID_GEN(id)   ((uint32_t)((id) >> 32) & 0xffffffu)
#define AG_ID_INDEX(id) ((uint32_t)(id))
#define AG_STREAM_LEGACY 0ull            /* on the wire: the session's legacy default stream */

/* --- handshake over the Unix socket (SOCK_SEQPACKET) ----------------------------------------------
 * client: ag_hello.  worker: ag_welcome + descriptors [0] the segment, [1] the host-memory memfd of the window.
 * client: maps the window's mirror; ag_mapped { ok }.  If the address range is taken there, ok = 0 and the worker
 * offers another window (ag_welcome again, at most 8 times).  Afterwards the socket carries only ag_hostfd (worker ->
 * client, when host memory grows, + one descriptor) and its closing: either side's end of life. */
struct ag_hello { uint32_t magic, version; uint32_t pid; uint32_t flags; char program[64]; };
/* hello.flags: no session; the worker answers with lines of text, one per message, and closes (`agileos status`). */
#define AG_HELLO_STATUS 1u
struct ag_extent { uint64_t addr, bytes; };
struct ag_welcome {
	uint32_t magic, version;
	uint32_t status;                 /* CUresult; non-zero: refused, why says it, no descriptors */
	uint32_t session;
	uint64_t window_base, window_bytes;
	struct ag_extent host;           /* host memory, mapped from descriptor 1 at offset 0 */
	uint64_t shm_bytes;
	char why[128];
};
struct ag_mapped { uint32_t ok; };

/* Sent before the reply of a grant of host memory, with the new chunk's memfd (mapped at offset 0). */
struct ag_hostfd { struct ag_extent host; };

/* Host memory at host.addr is the client's own, all of it.  The worker puts these addresses into the descriptor of
 * each module it loads (guard.h, struct guard_desc); the client fills what lies there before its first module_load.
 */
#define AG_HOST_FAULT_OFF    0u           /* u32 fault_word */
#define AG_HOST_HEAP_OFF     64u          /* struct guard_heap; all zero: malloc in kernels returns NULL */
#define AG_HOST_PRINTF_OFF   4096u        /* struct guard_printf with AG_PRINTF_BYTES of data */
#define AG_PRINTF_BYTES      (1u << 20)
#define AG_HOST_FREE_OFF     (AG_HOST_PRINTF_OFF + AG_PRINTF_BYTES + 4096u)   /* the rest is the client's heap */

/* msg_launch.flags */
#define AG_LAUNCH_COOPERATIVE 1u
#define AG_SOCKET_ENV "AGILEOS_SOCKET"   /* path of the worker's socket */

#endif
