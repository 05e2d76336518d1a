-- The index is made anew.
DROP TABLE index_blocks;
DROP TABLE index_runs;

CREATE TABLE index_runs (
    run           INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    tenant_id     INTEGER NOT NULL,
    level         INTEGER NOT NULL,
    state         INTEGER NOT NULL,
    first_id      INTEGER NOT NULL,
    last_id       INTEGER NOT NULL,
    timestamp_min INTEGER NOT NULL,
    timestamp_max INTEGER NOT NULL
) STRICT;
CREATE INDEX index_runs_log ON index_runs (tenant_id, state, first_id);

CREATE TABLE index_blocks (
    block     INTEGER NOT NULL PRIMARY KEY,
    run       INTEGER NOT NULL,
    first_key BLOB    NOT NULL,
    entries   BLOB    NOT NULL,
    UNIQUE (run, first_key)
) STRICT;

DELETE FROM sqlite_stat1 WHERE tbl IN ('index_runs', 'index_blocks');
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('index_runs', 'index_runs_log', '50 50 50 1'),
    ('index_blocks', 'sqlite_autoindex_index_blocks_1', '100000 2000 1');
ANALYZE sqlite_schema;
