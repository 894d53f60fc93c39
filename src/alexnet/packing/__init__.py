"""Making packs: images are decoded once, brought to one size and written in shards.

    source ──items──▶ workers ──records──▶ shards ──▶ journal ──▶ pack.json
    sources/          images/workers       shards     journal     loop.Packing.finish
    lists images      decode, resize       append     commit      written last
                         ▲
    earlier version ──records that need not be made again: origins

The loop takes the items of each split in order. When a shard is full, the loop flushes all files to
the disk and then replaces the journal, packing.json, which records the length of each of them. The
next call truncates the files to these lengths and continues there. After a kill

    before the first commit     the next call starts from the beginning
    inside a shard              the next call deletes that shard and packs its images again
    between shard and journal   the same: the journal does not list the shard
    after the last commit       the next call writes the mean, duplicates.jsonl and pack.json
    after pack.json             the pack is finished; the next call deletes the leftovers

If the images have changed when a finished pack is asked for, a new version is written in the same
way into a folder inside that of the pack, and pack.json is replaced at the end (`versions`). The
records of unchanged images are copied into it, so that only what changed is decoded.

Files are written in two ways. Small files (the journal and pack.json) are replaced atomically by
`alexnet.files`. Large files (the shards) are written directly to their final names by
`direct.DirectWriter`, because they become part of the pack only when the journal lists them.

    pack         the public functions: arguments checked, a packing begun, resumed or opened
    resume       checks that a pack in the folder has the requested settings and source
    versions     the versions of a pack in its folder: the valid one, a new one, leftovers
    origins      which file each record was made of, and which records can be copied
    loop         one packing, from the state in the journal to pack.json
    sharing      several processes decode for the one that packs
    journal      the saved state: packing.json
    shards       the files of one split, which are only appended to
    direct       a large file written without filling the page cache
    duplicates   images that occur in two splits
    progress     counts and rates for display
    automatic    where packs are that `pack`, `train` and `evaluate` make and share

`alexnet.packs` describes the format. Nothing here imports torch.
"""
