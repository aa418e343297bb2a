"""What is wrong in these programs, found by a checker or in a result: which cases, what the report says, and why it is true."""

FINDINGS = (
    (
        r"dsv4_append_owners-\w+-\w+(-doubles)?$",
        "QuantizeAppendWinnerKernel",
        "Lane 28 sets the owner word of the slot to zero while other lanes of its warp may not have read it yet: there is no "
        "`__syncwarp` between the read of all lanes and the write (with doubled slots the CTAs that lose read it as well). A "
        "lane that reads the zero does not write its part of the row.",
    ),
    (
        r"rope_insert_(qkv|kv)-.*-short$",
        '0 bytes after the end of "slots"',
        "`slot_mapping[token]` is read for every token, also for those at and beyond `num_tokens_insert`, for which the host code "
        "allows `slot_mapping` to have no entry: reads behind the tensor. The value is not used. All 34 kernels of the file.",
    ),
    (
        r"topk_radix_(single|multi)-.*-reuse$",
        "race: write of 16 bytes at shared address",
        "A CTA that serves more than one row (more rows than SMs) loads the next row's keys into shared memory while other warps "
        "still collect the last row's from there: no barrier lies between. Without race checks 7 of 24 seeds give wrong indices.",
    ),
    (
        r"topk_radix_multi-v\d-det$",
        'of "scratch"',
        "The CTA that leaves last clears counters that other CTAs have read; it knows of them by a relaxed atomic with a fence "
        "before it and none after it, so nothing acquires. In practice the stores depend on the atomic's result.",
    ),
    (
        r"fast_topk_(exact|transform)-c\d-(?!.*norace)",
        "+3076]",
        "In a round all warps read the number of cached candidates; warp 0 sets the same counter to zero at the start of the "
        "next round, with no barrier between (in clusters the arrival is before the read). A warp that is late reads zero and "
        "drops its candidates. Without race checks 16 of 24 seeds of the one-CTA form give wrong or undefined indices.",
    ),
    (r"fast_topk_exact-c1-int-norace$", "never defined", "The consequence of the race above."),
    (
        r"page_append(_mla)?-.*nv_fp4_e2m1",
        "all 16 bytes: ",
        "Instantiated for `__nv_fp4_e2m1`, a row is copied in vectors of 16 elements: pointers advance by 16 bytes, an element's "
        "type being a byte wide, and the copy of a vector takes 8, two elements a byte. So of each 16 bytes the last 8 do not "
        "arrive; the cases check that all else is right.",
    ),
    (
        r"gemm_group_fp8-.*-short$",
        '0 bytes after the end of "sfa"',
        "The layout of a group's scales is made with the number of rows of all groups in place of the group's own, so the tile "
        "that has the last group's last rows reads scales of rows that do not exist, behind the tensor. The values are not used.",
    ),
    (
        r"gemm_group_\w+-turns$",
        "against an asynchronous use of a tensor map",
        "A CTA that goes on to the next group rewrites its tensor maps in global memory while copies that use them may be in "
        "flight: CUTLASS's main loops for groups wait before that for other architectures, not in these of SM120.",
    ),
    (
        r"-as_is$",
        "against an earlier initialisation of an mbarrier",
        "Bulk copies signal on mbarriers that one thread has initialised; between lies a CTA barrier, and no fence that makes the "
        "initialisation known to the asynchronous proxy (`fence.proxy.async`, or `fence.mbarrier_init` in a cluster), which CUDA's "
        "programming guide asks for. The other cases of these kernels add that fence behind `mbarrier.init`.",
    ),
    (
        r"(dec_(dsv4|dsv41_fp8|dots3)|pre_sg_dots3)-h16-fence_only$|nvfp4_(dec|stream)-.*-fence_only$",
        "race: read of",
        "All 32 lanes of the load warp store scales to shared memory, then lane 0 alone arrives at the mbarrier, without a "
        "`__syncwarp` between: the `__threadfence_block` of each lane orders nothing without one. That each lane's bulk copies "
        "complete on the same mbarrier does not help: PTX says that their complete-tx does not order earlier instructions of the "
        "issuing thread. The other cases of these kernels add `bar.warp.sync` behind the fence.",
    ),
    (
        r"h3_.*-elect_only$",
        "against an earlier read",
        "All lanes of a warp read a stage with `ldmatrix`, then the one that `elect.sync` names arrives on the mbarrier that gives "
        "the stage back: `elect.sync` orders no memory, so nothing orders the other lanes' reads before the next copy. The other "
        "cases of these kernels add `bar.warp.sync` before `elect.sync`.",
    ),
)
