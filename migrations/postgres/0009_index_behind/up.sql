-- The index behind the log (docs/decisions/012), as SQLite has it: sorted runs, each over a span of
-- ids, made after the events. All of it can be dropped and is made anew. It takes the place of six
-- native indexes, which took more room and work than the events themselves.

CREATE TABLE index_runs (
    tenant_id      integer     NOT NULL,
    run            bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    level          smallint    NOT NULL,
    first_id       bigint      NOT NULL,
    last_id        bigint      NOT NULL,
    created_at_min timestamptz NOT NULL,
    created_at_max timestamptz NOT NULL,
    timestamp_min  timestamptz NOT NULL,
    timestamp_max  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, run)
);
COMMENT ON TABLE index_runs IS 'The runs of the index; those of a log follow each other without a gap. Some dozens of rows a log';
COMMENT ON COLUMN index_runs.tenant_id IS 'Whose log';
COMMENT ON COLUMN index_runs.run IS 'Never used twice';
COMMENT ON COLUMN index_runs.level IS 'How often its events were merged: 0, 1, 2';
COMMENT ON COLUMN index_runs.first_id IS 'The first event of it';
COMMENT ON COLUMN index_runs.last_id IS 'The last event of it';
COMMENT ON COLUMN index_runs.created_at_min IS 'created_at of its first event: which partitions it is in';
COMMENT ON COLUMN index_runs.created_at_max IS 'created_at of its last event';
COMMENT ON COLUMN index_runs.timestamp_min IS 'Least timestamp of its events';
COMMENT ON COLUMN index_runs.timestamp_max IS 'Greatest timestamp of its events';

-- Blocks stay in the row as they are, two to a page: their bytes are packed already. A merge writes
-- all of its runs anew, so that the table is vacuumed early.
CREATE TABLE index_blocks (
    tenant_id integer NOT NULL,
    run       bigint  NOT NULL,
    first_key bytea   NOT NULL,
    entries   bytea   NOT NULL,
    PRIMARY KEY (tenant_id, run, first_key)
) WITH (toast_tuple_target = 8160, autovacuum_vacuum_scale_factor = 0.05);
COMMENT ON TABLE index_blocks IS 'What the runs hold: sorted keys, and the ids of the events that have them';
COMMENT ON COLUMN index_blocks.tenant_id IS 'Whose log';
COMMENT ON COLUMN index_blocks.run IS 'The run that it is of';
COMMENT ON COLUMN index_blocks.first_key IS 'Its first key and that key''s first id';
COMMENT ON COLUMN index_blocks.entries IS 'Its bytes';

-- Nothing of a session stays in its page when it changes: whether it is open is in an index.
ALTER TABLE sessions RESET (fillfactor);

COMMENT ON TABLE projections IS 'How far each projection has read. A row, locked, is the lease to work on what is derived from the tenant''s log: presence for all projections, index for the index';
COMMENT ON COLUMN projections.name IS 'presence, sessions or statistics; index is a lease alone';

-- For those who read the tables past the server. It takes next to nothing to keep.
CREATE INDEX events_timestamp ON events USING brin (timestamp) WITH (pages_per_range = 32, autosummarize = on);

DROP INDEX events_device;
DROP INDEX events_session;
DROP INDEX events_failure;
DROP INDEX events_address;
DROP INDEX events_time;
DROP INDEX events_window;
