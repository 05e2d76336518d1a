-- A run is made in one transaction: it is whole, or it is not there. Keys are led by the
-- tenant, as on PostgreSQL.
CREATE TABLE runs (
    tenant_id      INTEGER NOT NULL,
    -- Never used twice, so that what was written for a run that was dropped is never another's.
    run            INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    level          INTEGER NOT NULL,
    first_id       INTEGER NOT NULL,
    last_id        INTEGER NOT NULL,
    -- Bounds. SQLite has no partitions to leave out by them: runs from before have wide ones.
    created_at_min INTEGER NOT NULL,
    created_at_max INTEGER NOT NULL,
    timestamp_min  INTEGER NOT NULL,
    timestamp_max  INTEGER NOT NULL
) STRICT;
INSERT INTO runs SELECT tenant_id, run, level, first_id, last_id, 0, 253402300799999999, timestamp_min, timestamp_max
    FROM index_runs WHERE state = 1;

-- Blocks of a page each, written to the end of the table.
CREATE TABLE blocks (
    block     INTEGER NOT NULL PRIMARY KEY,
    tenant_id INTEGER NOT NULL,
    run       INTEGER NOT NULL,
    first_key BLOB    NOT NULL,
    entries   BLOB    NOT NULL,
    UNIQUE (tenant_id, run, first_key)
) STRICT;
INSERT INTO blocks SELECT block, tenant_id, run, first_key, entries
    FROM runs JOIN index_blocks USING (run) ORDER BY block;

DROP TABLE index_runs;
DROP TABLE index_blocks;
ALTER TABLE runs RENAME TO index_runs;
ALTER TABLE blocks RENAME TO index_blocks;
-- The runs of one log, in its order. Some dozens of rows a log.
CREATE INDEX index_runs_log ON index_runs (tenant_id, first_id);

DELETE FROM sqlite_stat1 WHERE tbl IN ('runs', 'blocks', 'index_runs', 'index_blocks');
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('index_runs', 'index_runs_log', '50 50 1'),
    ('index_blocks', 'sqlite_autoindex_index_blocks_1', '100000 100000 2000 1');
-- Has this connection read them; others do when they see the new schema.
ANALYZE sqlite_schema;
