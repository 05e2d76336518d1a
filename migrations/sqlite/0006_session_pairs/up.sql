-- Sessions without a session id: a mark of a device and application looks for its neighbours in time.
CREATE INDEX sessions_pair ON sessions (tenant_id, device, application, at) WHERE session_id IS NULL;
-- As 0005 explains.
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('sessions', 'sessions_pair', '4000000 4000000 800 40 1');
ANALYZE sqlite_schema;
