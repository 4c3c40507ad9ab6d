/* guard.h - PTX in, guarded PTX out, or a refusal that names line and reason.
 *
 * Pipeline (guard.c is the pass list):
 *   parse -> link (several relocatable pieces become one module) -> inline (no .func survives; recursion and unknown
 *   externs are refused) -> prune (no code that nothing leads to) -> relocate (variables leave the module, see below)
 *   -> define (every register written before it is read) -> space and align (what is known of addresses) -> print,
 *   block by block, with scrub (what others left), poll (back-edges), strip (counted loops), fence and report
 *   (canonical text, every identifier renamed, no client byte passed through).
 * The text is then judged by verify.h, which shares no code with any of this; only its verdict counts.
 *
 * WHAT A GUARDED MODULE LOOKS LIKE
 *   .version 9.0 / .target sm_90 / .address_size 64       (target: what the worker asks for)
 *   .extern .const .align 16 .b8 ag_desc[128];
 *   declarations of the runtime functions and gates used  (.extern .func, prototypes fixed: runtime.def, gate list)
 *   // agileos: body
 *   [.const .align 64 .b8 ag_const[C];]                   all .const variables of the client, merged, zero here
 *   [.extern .shared .align A .b8 ag_dyn[];]              dynamic shared memory
 *   .visible .entry k<N>( ... )                           kernels; nothing else
 * To load it, guard_compose() replaces everything before the marker line by header + trusted runtime + gates, which
 * define what was declared. The worker then writes struct guard_desc into ag_desc and the const image into ag_const.
 *
 * WHERE VARIABLES GO
 *   .global   into the client's window: the worker is given `data_addr`, a block of data_bytes there, at load; code
 *             reaches them as ld.const.u64 %gd, [ag_desc+8] plus an offset.  They are therefore fenced like any other
 *             memory.
 *   .const    merged into ag_const; register-addressed ld.const is clamped to it.  Where the address of a constant
 *             becomes generic or stands in memory, all of them go where .global ones go.
 *   .shared   static ones merged into one object per kernel; dynamic follows it.  Clamped to static + dynamic size.
 *   .local    merged into one object per kernel (after inlining).  Clamped to it.
 *
 * THE FENCED FORM (exact; one statement a line, a tab before each statement, labels and braces in column 0)
 *
 * After the marker: optional `.const .align 64 .b8 ag_const[C];`, optional `.extern .shared .align A .b8 ag_dyn[];`
 * with 16 <= A <= 1024, then the kernels.  Before it, in this order: the three header lines, the ag_desc line, one
 * declaration a line of each runtime function or gate used:
 *     .extern .func (.param .b32 r) ag_rt_printf (.param .b64 a0, .param .b64 a1, .param .b32 a2, .param .b32 a3);
 *     .extern .func ag_rt_free (.param .b64 a0);
 * A kernel:
 *     .visible .entry k<N>(
 *         .param .b64 p0,                        scalars .b8 .b16 .b32 .b64; arrays .param .align 8 .b8 p1[24];
 *         .param .b64 pc                         only with hidden_coop, always last; the last line has no comma
 *     )
 *     .maxntid 256, 1, 1                         optional, a line each, in this order: .maxntid .reqntid .minnctapersm
 *     {                                          .maxnreg .explicitcluster .reqnctapercluster .maxclusterrank
 *         .reg .b32 %r<123>;                     all register declarations; %x<1> declares %x0.  Invariant registers
 *         .reg .b32 %gw;                         without a number stand alone
 *         .shared .align 16 .b8 ag_smem_<N>[S];  at most one; alignment 16 to 1024; S is a multiple of 32
 *         .local .align 16 .b8 ag_local_<N>[L];  at most one; alignment 16 to 1024; L is a multiple of 32
 *     $T0: .branchtargets $L1, $L2;              tables of brx.idx
 *         (entry block, body)
 *     }
 * Plain registers carry no invariant and may be written by any plain instruction: %p<i> .pred, %h<i> .b16, %r<i> .b32,
 * %rd<i> .b64, %q<i> .b128.  Nothing is declared .f32, .u32, ...: the bit-size classes hold every type.
 * Labels: $L<n> (n from 1), and $Lkill, the one exit path (it may hold forward branches and labels): `ret` is the last
 * statement of a kernel and stands nowhere else; `exit` never occurs (both are `bra $Lkill`).  There is no code that
 * nothing leads to, and no label in the client's part that no branch names.
 * Numbers: decimal, signed, no leading zero (-9223372036854775808 is the smallest); 0f and 0d with 8 and 16 upper-case
 * hex digits.  Operands are separated by ", "; a predicated statement is `@%p1 ` or `@!%p1 ` then the opcode; addresses
 * are [reg], [reg+imm] (imm > 0), [sym], [sym+imm].
 *
 * Invariants.  Every instruction that writes a register of these names has exactly the form given, is not predicated,
 * and (but for the entry-block ones) a definition precedes each use in the same basic block (a basic block begins at a
 * label and ends at a branch, predicated or not; calls do not end it).  W is one of 1 2 4 8 16 32, n a number; "any" is
 * any register of that class, plain or invariant; IMM a literal.
 *   entry block: before the first label or branch; each at most once; only those needed are there
 *     ld.const.u32 %gw, [ag_desc];                        window base >> 32
 *     ld.const.u32 %gm, [ag_desc+4];                      (extent - 1) >> 32; wide only
 *     ld.const.u64 %gd, [ag_desc+8];                      the module's variables
 *     ld.const.u64 %gkill, [ag_desc+16];
 *     mov.u32 %gc, 0;   mov.u32 %gf, 0;                   poll counter; last flag read
 *     mov.u32 %gsb, ag_smem_N;                            shared base, or
 *     mov.u32 %gsb, ag_dyn;                               where the kernel has no ag_smem_N
 *     mov.u32 %gsd, %dynamic_smem_size;                   these two only where the kernel uses ag_dyn;
 *     add.u32 %gsn, %gsd, S;                              S: bytes of ag_smem_N, 0 without
 *     sub.u32 %gsl<F>, %gsn, F;                           for each F used; sound by the launch contract below
 *     mov.u32 %glb, ag_local_N;   mov.u32 %gkb, ag_const;
 *   global
 *     and.b32 %gl<W>_n, any, -W;                          low word, aligned (W = 1: mov.b32 %gl1_n, any;)
 *     lop3.b32 %gh_n, any, %gm, %gw, 234;                 wide: (any & mask) | base
 *     mov.b64 %ga<W>_n, {%gl<W>_i, %gw};                  narrow
 *     mov.b64 %ga<W>_n, {%gl<W>_i, %gh_j};                wide
 *     An access of w bytes (vectors: in all) is [%ga<W>_n+imm], W >= w, 0 <= imm <= GUARD_SLACK - 32, imm % w == 0.
 *   shared (F: footprint in bytes, W <= F <= 8192, W <= 16)
 *     sub.u32 %gso_n, any, %gsb;
 *     min.u32 %gsm_n, %gso_n, %gsl<F>;                    where the kernel uses ag_dyn; else
 *     min.u32 %gsm_n, %gso_n, IMM;                        F = S - IMM, IMM >= 0
 *     and.b32 %gsa_n, %gsm_n, -W;                         (W = 1: mov.b32 %gsa_n, %gsm_n;)
 *     add.u32 %gs<W>_n, %gsa_n, %gsb;
 *     An access is [%gs<W>_n+imm], W >= w, imm + w <= F, imm % w == 0, imm <= GUARD_SLACK - 32, or [ag_smem_N+imm],
 *     imm + w <= S, imm % w == 0.
 *   local: %gpo_n %gpm_n %gpa_n %gp<W>_n, base %glb, always the immediate form with L;   or [ag_local_N+imm]
 *   const: %gko_n %gkm_n %gka_n %gk<W>_n, base %gkb, always the immediate form with C;   or [ag_const+imm]
 *   generic
 *     cvt.u64.u32 %gsu<W>_n, %gs<W>_i;   cvta.shared.u64 %gsg<W>_n, %gsu<W>_i;     keep the F of their source
 *     cvt.u64.u32 %gpu<W>_n, %gp<W>_i;   cvta.local.u64 %gpg<W>_n, %gpu<W>_i;
 *     selp.b64 %gg<W>_n, x, y, any;      x, y: %ga<W>_i, %gsg<W>_i, %gpg<W>_i, %gg<W>_i; F: the smaller, GUARD_SLACK
 *     for %ga.  An access without a state space is [%ga<W>_n+imm] or [%gg<W>_n+imm], imm + w <= F, imm % w == 0.  atom
 *     and red take no %gg that a %gpg went into.
 *   brx.idx:   min.u32 %gb_n, any, N-1;   brx.idx %gb_n, $T<k>;              N targets
 *   barriers of the block are number 0, of all threads, sync, and nothing else: bar.sync 0; or barrier.sync 0;
 *              The hardware ends the context where threads disagree about one.  All others are software (soft.c).
 *   nanosleep: min.u32 %gns_n, any, 1000000;   nanosleep.u32 %gns_n;         (or a literal up to that)
 *   cp.async of z bytes:  cp.async.ca|cg.shared.global [%gs<W>_i+imm], [%ga<W>_j+imm], z;   both as accesses of z
 *              bytes; a fourth operand is a literal up to z, or  min.u32 %gcz_n, any, z;
 *   ldmatrix, stmatrix: their address is a shared access of 16 bytes; state space .shared, suffixes in the order of the
 *              PTX grammar.  There is no mbarrier: misuse, which nothing here could prevent, ends the context.
 *   shfl, vote, match, redux, elect, bar.warp.sync: either every such mask in the kernel is the literal -1, or none is.
 *              Then each is a register of these, and the instruction is not predicated (warp.c):
 *     activemask.b32 %gam_n;   match.any.sync.b32 %gmm_n, any, %gam_i;
 *   wmma.load, wmma.store (wmma.mma is plain): R lines of C elements of z bytes, from shape, fragment and layout (a: m
 *              x k, b: k x n, c and d: m x n; row: R is the first of the two; col: R is the second).  All registers of
 *              one such instruction have its number n, and nothing else uses them; z is 1, 2, 4 or 8, A = 16 / z, M =
 *              2^32 / ((R-1)*z):
 *     global:  and.b32 %gyl_n, any, -16;   mov.b64 %gya_n, {%gyl_n, %gw};   not.b32 %gyn_n, %gyl_n;
 *       wide:  and.b32 %gyl_n, any, -16;   lop3.b32 %gyh_n, any, %gm, %gw, 234;   mov.b64 %gya_n, {%gyl_n, %gyh_n};
 *              setp.eq.u32 %gye_n, %gyh_n, %gwe;   selp.b32 %gyo_n, %gyl_n, 0, %gye_n;   not.b32 %gyn_n, %gyo_n;
 *              with the entry line or.b32 %gwe, %gw, %gm;
 *     shared:  sub.u32 %gyu_n, any, %gsb;  min.u32 %gyv_n, %gyu_n, LIM;  and.b32 %gyw_n, %gyv_n, -16;
 *              add.u32 %gyb_n, %gyw_n, %gsb;  sub.u32 %gyn_n, LIM, %gyw_n;  LIM: %gsl<F> or S - F as above, F = C*z
 *     then:    mul.hi.u32 %gyq_n, %gyn_n, M;  min.u32 %gym_n, any, %gyq_n;  and.b32 %gys_n, %gym_n, -A;
 *              wmma.load.a.sync.aligned.row.m16n16k16.global.f16 {...}, [%gya_n], %gys_n;    (.shared: [%gyb_n])
 *     so that (R-1) * stride + C elements end inside the window (the last line in its slack) or the block's memory.
 *   MEET (opt->meet): threads wait in hardware only for others that come; verify_meet.c says why.  A kernel that waits
 *     for others of its warp (shfl, vote, match, redux, elect, bar.warp.sync with the mask -1; barriers of the block;
 *     barriers of the cluster; mma, wmma, ldmatrix, stmatrix, movmatrix) has a shared object named ag_meet_N, or
 *     ag_peer_meet_N with peers, below.  Its first H bytes are the guard's: 32, and 16 for each warp that .maxntid and
 *     .reqntid allow (else 32 warps), rounded up to a multiple of 32.  For S, %gsb and accesses H stands for the 32 of
 *     peers.  Barriers of the block are barrier.sync 0; none stands in a kernel that also has barriers of the cluster.
 *     Instructions that wait are not predicated.
 *     entry, behind nothing but entry-block lines: threads are still together:
 *       activemask.b32 %gwl;   mov.u32 %gwa, %tid.z;   mov.u32 %gwt, %ntid.y;   mov.u32 %gwu, %tid.y;
 *       mad.lo.u32 %gwa, %gwa, %gwt, %gwu;   mov.u32 %gwt, %ntid.x;   mov.u32 %gwu, %tid.x;
 *       mad.lo.u32 %gwa, %gwa, %gwt, %gwu;   and.b32 %gwa, %gwa, -32;   shr.u32 %gwa, %gwa, 1;
 *       mov.u32 %gwh, ag_meet_N;   add.u32 %gwt, %gwh, %gwa;   mov.u32 %gwu, 0;
 *       st.shared.v4.u32 [%gwt+32], {%gwu, %gwu, %gwu, %gwl};
 *     look: behind it, until a label, a branch, a call or a barrier of the cluster, whatever waits may stand:
 *       activemask.b32 %gwa;   setp.ne.u32 %gwq, %gwa, %gwl;   @%gwq bra $L<n>;
 *     check, number k in the kernel (from 1):
 *       activemask.b32 %gwa;   setp.eq.u32 %gwq, %gwa, %gwl;   @%gwq bra $Lm<k>;   a call (below) of ag_rt_meet with
 *       %gwh and SITE into %gwl;   setp.eq.u32 %gwq, %gwl, 0;   @%gwq bra $Lkill;   $Lm<k>:
 *       SITE is 65536 + k: a place; then it is as good as a look.  Or it is a kind, from 1 in the order of the text:
 *       then the next that waits is of that kind (opcode and suffixes; of a barrier of the cluster its setp), no
 *       matrix instruction, and the only one that the check is good for.
 *     In the entry block neither is needed.
 *     exit, directly before `ret` (with peers: behind the lines of a wait):
 *       activemask.b32 %gwa;   setp.eq.u32 %gwq, %gwa, %gwl;   @%gwq bra $Lleft;   a call of ag_rt_leave with %gwh;
 *       $Lleft:
 *   barrier of the cluster: %gcf is 1 while the thread has arrived and not waited (PTX leaves the rest undefined)
 *     entry: mov.u32 %gcf, 0;
 *     arrive: setp.eq.u32 %gcq, %gcf, 0;   @%gcq barrier.cluster.arrive;   mov.u32 %gcf, 1;       (or .arrive.relaxed)
 *     wait:   setp.ne.u32 %gcq, %gcf, 0;   @%gcq barrier.cluster.wait;     mov.u32 %gcf, 0;
 *     Such a kernel waits so directly before `ret`, too.
 *   shared memory of other blocks of the cluster: a kernel whose shared object is named ag_peer_N, whose first 32 bytes
 *     are the guard's: S in all forms above and below is 32 less than declared, %gsb is ag_peer_N+32, accesses
 *     [ag_peer_N+imm] have imm >= 32.
 *     entry, the last lines of it that are not the client's; all blocks have started when they are through:
 *       mov.u32 %gcn, %cluster_nctarank;   sub.u32 %gcl, %gcn, 1;   mov.u32 %gca, ag_peer_N;
 *       mov.u32 %gct, %ntid.x;   mov.u32 %gce, %ntid.y;   mul.lo.u32 %gct, %gct, %gce;
 *       mov.u32 %gce, %ntid.z;   mul.lo.u32 %gct, %gct, %gce;   sub.u32 %gct, %gct, 1;   mov.u32 %gce, 0;
 *       st.shared.u32 [ag_peer_N], %gce;   st.shared.u32 [ag_peer_N+4], %gce;
 *       barrier.cluster.arrive;   barrier.cluster.wait;
 *     getctarank.shared::cluster.u32 %gcr_n, any;   min.u32 %gcm_n, any, %gcl;
 *     mapa.shared::cluster.u32 %gcb_n, %gsb, %gcm_n;   sub.u32 %gco_n, any, %gcb_n;
 *     min.u32 %gci_n, %gco_n, %gsl<F>;  or IMM, as for shared;   and.b32 %gcj_n, %gci_n, -W;  (W = 1: mov.b32)
 *     add.u32 %gcs<W>_n, %gcj_n, %gcb_n;            access: ld.shared::cluster.u32 %r1, [%gcs<W>_n+imm]; as for shared
 *     cvt.u64.u32 %gcu<W>_n, %gcs<W>_i;   cvta.shared::cluster.u64 %gcg<W>_n, %gcu<W>_i;     an x or y of %gg<W>
 *     mapa itself is arithmetic; its rank is a %gcm.
 *     exit, after all else that follows $Lkill: the last thread of each block stays until those of all blocks have come
 *     here, and takes part in barriers of the cluster meanwhile (verify_cluster.c says why that is enough):
 *       $Lpeers:   the lines of a wait;   fence.acq_rel.cluster;   atom.shared.add.u32 %gce, [ag_peer_N], 1;
 *       setp.ne.u32 %gcq, %gce, %gct;   @%gcq bra $Lpeers3;   fence.acq_rel.cluster;   mov.u32 %gce, 0;
 *       $Lpeers1:   mapa.shared::cluster.u32 %gcx, %gca, %gce;
 *       red.release.cluster.shared::cluster.add.u32 [%gcx+4], 1;   add.u32 %gce, %gce, 1;
 *       setp.lt.u32 %gcq, %gce, %gcn;   @%gcq bra $Lpeers1;
 *       $Lpeers2:   ld.acquire.cluster.shared.u32 %gce, [ag_peer_N+4];   setp.ge.u32 %gcq, %gce, %gcn;
 *       @%gcq bra $Lpeers3;   barrier.cluster.arrive;   barrier.cluster.wait;   bra $Lpeers2;
 *       $Lpeers3:   ret;
 *   textures (tex, tld4, txq; a handle is [%gt_n, {...}] or [%gt_n]):
 *     entry: ld.const.u64 %gtb, [ag_desc+56];   ld.const.u32 %gtc, [ag_desc+64];   sub.u32 %gtl, %gtc, 1;
 *     min.u32 %gti_n, any, %gtl;   mad.wide.u32 %gta_n, %gti_n, 8, %gtb;   ld.global.u64 %gt_n, [%gta_n];
 *     %gt_n is a handle and nothing else.  txq and suq ask for width, height and depth, which the texture unit knows;
 *     what else there is ptxas makes a load from a table of the driver's, at an address made of the handle.
 *   surfaces (suld.b, sust.b, suq): a table of their own; a handle for each geometry and size of access W, 1 to 16
 *     (what is moved in all): %gux<W>_n 1d, %guy<W>_n 2d, %guz<W>_n 3d, %guxa<W>_n a1d, %guya<W>_n a2d; %guq_n for suq
 *     entry: ld.const.u64 %gub, [ag_desc+104];   ld.const.u32 %guc, [ag_desc+112];   sub.u32 %gul, %guc, 1;
 *     min.u32 %gui_n, any, %gul;   mad.wide.u32 %gua_n, %gui_n, 208, %gub;
 *     ld.global.u64 %guy4_n, [%gua_n+O];   O: 8, 48, 88, 128, 168 in the order above, and 8 * log2 W
 *     ld.global.u64 %guq_n, [%gua_n];
 *     and.b32 %guo<W>_n, any, -W;          x in bytes, of accesses of 2 bytes and more
 *     suld.b.2d.b32.zero any, [%guy4_n, {%guo4_m, any}];   suq.width.b32 any, [%guq_n];
 *     sust.b.a2d.v2.b64.clamp [%guya16_n, {any, %guo16_m, any, any}], {any, any};
 *     x is the second coordinate of a1d and a2d; there are 1, 2, 4, 2, 4 coordinates, all of them registers.  A cache
 *     operator may follow the geometry.  Never .trap, which becomes .zero: an access outside that the hardware would
 *     make an error reads zero, or writes nothing.
 *   clearing (opt->scrub): what other clients' kernels left in the memory that fences of this kernel can lead to. The
 *     lines stand once, in the entry block, before all but lines of entry registers (so before any of the client's, and
 *     before a kernel with peers meets its cluster); their registers, %gz?, have no other use. SIZE: %gsn where it is
 *     defined, else S as a literal; verify_scrub.c says why nothing remains.
 *       mov.b32 %gzz, 0;
 *     with a local object of at most 1024 bytes, one line for every 16 of them:
 *       st.local.v4.b32 [ag_local_N+16], {%gzz, %gzz, %gzz, %gzz};
 *     with a larger one:
 *       mov.u32 %gza, ag_local_N;   add.u32 %gzo, %gza, L;   $Lzero1:
 *       st.local.v4.b32 [%gza], {%gzz, %gzz, %gzz, %gzz};   st.local.v4.b32 [%gza+16], {%gzz, %gzz, %gzz, %gzz};
 *       add.u32 %gza, %gza, 32;   setp.lt.u32 %gzq, %gza, %gzo;   @%gzq bra $Lzero1;
 *     with %gsn, or S > 0:
 *       mov.u32 %gzo, %tid.z;   mov.u32 %gzs, %ntid.y;   mov.u32 %gza, %tid.y;   mad.lo.u32 %gzo, %gzo, %gzs, %gza;
 *       mov.u32 %gza, %ntid.x;   mul.lo.u32 %gzs, %gzs, %gza;   mov.u32 %gzt, %tid.x;
 *       mad.lo.u32 %gzo, %gzo, %gza, %gzt;   mov.u32 %gza, %ntid.z;   mul.lo.u32 %gzs, %gzs, %gza;
 *       shl.b32 %gzo, %gzo, 4;   shl.b32 %gzs, %gzs, 4;   setp.ge.u32 %gzq, %gzo, SIZE;   @%gzq bra $Lzero3;
 *       $Lzero2:   add.u32 %gza, %gzo, %gsb;   st.shared.v4.b32 [%gza], {%gzz, %gzz, %gzz, %gzz};
 *       add.u32 %gzo, %gzo, %gzs;   setp.lt.u32 %gzq, %gzo, SIZE;   @%gzq bra $Lzero2;   $Lzero3:   bar.sync 0;
 * Every textually backward branch (and brx.idx with such a target) is directly preceded by a poll, none of it
 * predicated but as shown; between poll and brx.idx stands only its min:
 *     add.u32 %gc, %gc, 1;   and.b32 %gx, %gc, 63;   setp.eq.u32 %gq, %gx, 0;
 *     @%gq ld.volatile.global.u32 %gf, [%gkill];   setp.ne.and.u32 %gq, %gf, 0, %gq;   @%gq bra $Lkill;
 * Exceptions are the loops of clearing, whose rounds the sizes bound, and strips: a loop of one block with a counter
 * that only these lines write, K <= 256, K times the lines from the label to the second but last at most 16384. No
 * other branch names the label; inside stand no branch, label, call or nanosleep, nor another min.u32 %gn_*:
 *     min.u32 %gn_n, any, K;
 *     $L5:
 *     (body)
 *     add.s32 %gn_n, %gn_n, -1;
 *     setp.gt.s32 %gq, %gn_n, 0;
 *     @%gq bra $L5;
 * A call of a runtime function or gate is these lines, nothing between, arguments plain registers or literals; the cr
 * lines and (cr) only where it has a result.  The third and fourth argument of ag_rt_printf are %glb and L, or 0 and 0:
 *     {
 *     .param .b64 c0;
 *     .param .b32 c1;
 *     .param .b32 cr;
 *     st.param.b64 [c0], %rd1;
 *     st.param.b32 [c1], 5;
 *     call (cr), gate_example, (c0, c1);
 *     ld.param.b32 %r3, [cr];
 *     }
 * Parameters are read by ld.param [p<i>+imm] with imm inside p<i> and aligned.
 * ag_const, ag_smem_N, ag_dyn, ag_local_N may also be the source of a plain mov.u32 or mov.u64 (+imm, any
 * non-negative): only a number.  tests/guard/form/ holds real output of the rewriter.
 *
 * REPORT.  With opt->report a block's fences are followed, before it ends, by a comparison of each address with its
 * fenced self; the first line, kind and address that differ are kept in plain registers and $Lkill calls ag_rt_report
 * with them. An access that had to be moved or aligned is a violation; so are trap, brkpt and a failed assert, which
 * also end the thread.  A loop in strips (strip.c) has two copies: the addresses of all rounds are looked at before the
 * first, and where none would be a violation, the copy without comparisons runs; else the other one, which finds the
 * first violation as everywhere. None of this is of any interest to the verifier.
 *
 * LAUNCH CONTRACT (the worker's duty).  Dynamic shared size of a kernel with uses_dyn_shared is rounded up to a
 * multiple of 16 (clearing stores 16 bytes at a time) and is at least min_dyn_shared (guard_kernel and verify_kernel;
 * the worker believes the latter: the largest F of a %gsl<F> less S, at least 32 without ag_smem_N).  With hidden_coop
 * the parameter block is followed (8-aligned) by a u64: the address of a zeroed 64-byte cooperative-grid workspace in
 * the window, its first u32 set to 64. GUARD_SLACK bytes beyond every window extent are mapped to memory of the same
 * client.  The first GUARD_SLACK bytes of a window are never handed out by the allocator, so that a pointer just before
 * an allocation still has the window's high word.  Each entry of the texture table is a valid handle, if only of an
 * empty texture: a wrong index becomes one of them.  The same holds of the surface table, and of each handle of an
 * entry (struct guard_surface).
 */
#ifndef AG_GUARD_H
#define AG_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "device.h"
#include "ptx.h"

#define GUARD_BODY_MARK "// agileos: body\n"
#define GUARD_VERSION 10u           /* of the guarded form; part of the cache key */

/* A gate that client code may call; becomes gate_<name>. The client's text holds `.extern .func (ret) name (params)`,
 * or a *definition* of that name (the fallback that runs where no service exists: adapters/<name>/<name>.cuh): either
 * way its calls become calls of the gate, the body is dropped. A prototype that differs from the gate's is refused. */
struct guard_gate {
	const char *name;
	uint8_t nparams;
	uint8_t params[16];         /* enum ptx_type: B32 or B64, F32, F64 */
	uint8_t ret;                /* enum ptx_type or PTX_T_NONE */
};

struct guard_options {
	bool wide;                  /* windows over 4 GiB */
	bool report;                /* default true */
	/* default true; false only for the loud unguarded mode: everything but fences and verification */
	bool fence;
	bool poll;                  /* default true */
	/* default true: shared and local memory are cleared before the client's code; where all kernels are of one
	 * owner, false does */
	bool scrub;
	bool meet;                  /* threads wait in hardware only for others that come, see MEET */
	int target_sm;              /* 90 */
	const struct guard_gate *gates;
	uint32_t ngates;
	/* for people: after the pass named (guard_is_stage) its outcome is written here, else NULL */
	FILE *dump;
	const char *dump_stage;
};

bool guard_is_stage(const char *name);  /* parse link place inline prune relocate define space print */

struct guard_kernel {
	const char *name;           /* the client's */
	uint32_t index;             /* N of k<N> */
	uint32_t nparams, param_bytes;   /* without the hidden one */
	const uint32_t *param_offset, *param_size;
	uint32_t static_shared, local_bytes;
	uint32_t maxntid[3], reqntid[3], minnctapersm;   /* as declared, 0 absent */
	bool uses_dyn_shared, hidden_coop, uses_printf;
	uint32_t min_dyn_shared;     /* see LAUNCH CONTRACT */
	uint32_t line;
};

struct guard_symbol {
	const char *name;
	uint64_t offset, size;      /* in the data block, or in ag_const */
	bool is_const, is_managed;
};

/* at data[offset], or const image when in_const: add data_addr (or the address of ag_const) to the u64 there */
struct guard_data_reloc {
	uint64_t offset;
	bool in_const, to_const;
};

/* Result of guard_rewrite; one allocation family, freed by guard_result_free. */
struct guard_result {
	char *text; size_t text_len;
	struct guard_kernel *kernels; uint32_t nkernels;
	struct guard_symbol *symbols; uint32_t nsymbols;
	/* image: data_init leading bytes, zero up to data_bytes; align 256 */
	uint8_t *data; uint64_t data_init, data_bytes;
	uint8_t *cimage; uint64_t const_bytes;           /* whole image of ag_const */
	struct guard_data_reloc *relocs; uint32_t nrelocs;
	void *arena;
};

struct guard_input { const char *text; size_t len; const char *label; /* for messages, "app.cu piece 2" */ };

/* Rewrites one module made of `n` pieces. 0 accepted; -1 refused, err filled (err->line is a line of piece
 * err_piece). */
int guard_rewrite(const struct guard_input *in, uint32_t n, const struct guard_options *opt,
                  struct guard_result *out, struct ptx_error *err, uint32_t *err_piece);
void guard_result_free(struct guard_result *r);

/* Bytes for the pipe between helper and worker. guard_result_read bounds-checks everything: its input is hostile. */
int guard_result_write(const struct guard_result *r, uint8_t **bytes, size_t *len);
int guard_result_read(struct guard_result *r, const uint8_t *bytes, size_t len);

/* Header + runtime + gates + body of `guarded`; `gate_ptx` are the trusted device texts of the services whose gates
 * opt named (bodies only). malloc'd; NULL when `guarded` has no marker. */
char *guard_compose(const char *guarded, size_t len, int target_sm, const char *const *gate_ptx, uint32_t ngate_ptx,
	size_t *out_len);

/* The trusted runtime's PTX (ag_rt_*, ag_desc), built from the sources in guard/rt, embedded. Body only. */
extern const char guard_runtime_ptx[];
extern const size_t guard_runtime_ptx_len;

/* --- helper process (helper.c): a zygote without privileges forks one child per request --- */

struct guard_helper;
/* Starts the zygote: this program again (/proc/self/exe) with a hidden subcommand, so main() must first do
 *   if (guard_is_zygote(argc, argv)) return guard_zygote_main(argc, argv);                      (guard/helper.h)
 * ptxas: path, or NULL when nothing will be compiled (softgpu).  NULL: it could not start. */
struct guard_helper *guard_helper_start(const char *ptxas);
void guard_helper_stop(struct guard_helper *h);

struct guard_verdict;  /* verify.h */

/* Rewrites in one child, verifies in another (skipped when !opt->fence), compiles in a third when sm_compile != 0
 * (cubin else NULL). Thread safe. 0 ok; -1 refused, why filled (one line, printable) ; -2 helper died or ran over its
 * limits, why filled. */
int guard_helper_run(struct guard_helper *h, const struct guard_input *in, uint32_t n, const struct guard_options *opt,
                     const char *const *gate_ptx, uint32_t ngate_ptx, bool compile,
                     struct guard_result *out, struct guard_verdict *verdict, char **composed, size_t *composed_len,
                     void **cubin, size_t *cubin_len,
                     char why[512]);

#endif
