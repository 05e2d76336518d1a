-- The figures of an hour of an application, as answers have them: apart from the rollups' cells, which
-- are fifty times their size (docs/decisions/009).
CREATE TABLE application_hours (
    tenant_id   INTEGER NOT NULL,
    start       INTEGER NOT NULL,
    application INTEGER NOT NULL,
    figures     BLOB    NOT NULL,
    PRIMARY KEY (tenant_id, start, application)
) STRICT, WITHOUT ROWID;
INSERT INTO application_hours
    SELECT tenant_id, start, lead, summary FROM rollups WHERE level = 1 ORDER BY tenant_id, start, lead;
ALTER TABLE rollups DROP COLUMN summary;

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('application_hours', 'application_hours', '40000 40000 50 1');
-- Has this connection read them; others do when they see the new schema.
ANALYZE sqlite_schema;
