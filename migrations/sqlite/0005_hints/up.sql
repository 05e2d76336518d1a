-- What the planner is told. Without statistics SQLite takes the first column of every key for a
-- selective one, and goes through all of a tenant's rows. The figures are those of a log of ten
-- million events: rows, then how many share the first column, the first two, and so on
-- (https://sqlite.org/optoverview.html, "Manual Control Of Query Plans Using SQLITE_STAT Tables").
-- They are set and not measured, so that plans are the same everywhere; ANALYZE is not needed.
ANALYZE sqlite_schema;
DELETE FROM sqlite_stat1;
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('events', 'events', '10000000 10000000 1'),
    ('idempotency_keys', 'idempotency_keys', '1000000 1000000 500000 1'),
    ('idempotency_keys', 'idempotency_keys_age', '1000000 500000 1'),
    ('index_runs', 'index_runs_log', '50 50 50 1'),
    ('index_blocks', 'sqlite_autoindex_index_blocks_1', '100000 2000 1'),
    ('projections', 'projections', '3 3 1'),
    ('names', 'names', '5000 5000 1'),
    ('names', 'names_number', '5000 5000 1'),
    ('devices', 'devices', '5000 5000 1'),
    ('applications', 'applications', '50 50 1'),
    ('application_devices', 'application_devices', '100000 100000 2000 1'),
    ('sessions', 'sessions', '4000000 4000000 1 1'),
    ('sessions', 'sessions_session', '4000000 4000000 1'),
    ('sessions', 'sessions_device', '4000000 4000000 800 1'),
    ('sessions', 'sessions_application', '4000000 4000000 80000 1'),
    ('sessions', 'sessions_open', '5000 5000 2 1'),
    ('sessions', 'sessions_open_application', '5000 5000 100'),
    ('rollups', 'rollups', '300000 300000 100000 100 1'),
    ('rollups', 'rollups_device', '100000 100000 30 1');
-- Has this connection read them; others do when they see the new schema.
ANALYZE sqlite_schema;
