-- The index behind the log (docs/decisions/003): sorted runs, each over a span of ids, written in
-- bulk after the events. Derived: whatever is here can be dropped and is made anew.

CREATE TABLE index_runs (
    -- Never used twice, so that what was written for a run that was dropped is never another's.
    run           INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    tenant_id     INTEGER NOT NULL,
    level         INTEGER NOT NULL,
    -- 0 being written, 1 in use, 2 to be removed.
    state         INTEGER NOT NULL,
    first_id      INTEGER NOT NULL,
    last_id       INTEGER NOT NULL,
    timestamp_min INTEGER NOT NULL,
    timestamp_max INTEGER NOT NULL
) STRICT;

-- The runs of one log, in its order. Some dozens of rows a log.
CREATE INDEX index_runs_log ON index_runs (tenant_id, state, first_id);

-- Blocks of a page each. Not led by tenant_id: a run is one log's, and led by the run every
-- write goes to the end.
CREATE TABLE index_blocks (
    block     INTEGER NOT NULL PRIMARY KEY,
    run       INTEGER NOT NULL,
    first_key BLOB    NOT NULL,
    entries   BLOB    NOT NULL,
    UNIQUE (run, first_key)
) STRICT;
