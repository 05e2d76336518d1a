ALTER TABLE sessions SET (fillfactor = 80);
COMMENT ON TABLE projections IS 'How far each projection has read. A tenant''s row `presence`, locked, is the lease to work on all of them';
COMMENT ON COLUMN projections.name IS 'presence, sessions or statistics';
DELETE FROM projections WHERE name = 'index';
DROP INDEX events_timestamp;
DROP TABLE index_blocks;
DROP TABLE index_runs;

CREATE INDEX events_device ON events (tenant_id, device_id, id);
CREATE INDEX events_session ON events (tenant_id, session_id, id) WHERE session_id IS NOT NULL;
CREATE INDEX events_failure ON events (tenant_id, application_id, id) WHERE status <> 'success';
CREATE INDEX events_address ON events (tenant_id, ip_address, id, timestamp) WHERE ip_address IS NOT NULL;
CREATE INDEX events_time ON events (tenant_id, timestamp, id);
CREATE INDEX events_window ON events (tenant_id, (id >> 14), timestamp, id);
