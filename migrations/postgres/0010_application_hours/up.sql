-- The figures of an hour of an application, as answers have them: apart from the rollups' cells, which
-- are fifty times their size (docs/decisions/009).

-- A server of the version before writes to this table until it loses a column. What it wrote after the
-- copy would be missing in it.
LOCK TABLE rollups IN ACCESS EXCLUSIVE MODE;

CREATE TABLE application_hours (
    tenant_id   integer     NOT NULL,
    start       timestamptz NOT NULL,
    application integer     NOT NULL,
    figures     bytea       NOT NULL,
    PRIMARY KEY (tenant_id, start, application)
) WITH (fillfactor = 80);
COMMENT ON TABLE application_hours IS 'Statistics of whole hours of an application, as they are answered';
COMMENT ON COLUMN application_hours.tenant_id IS 'Whose events';
COMMENT ON COLUMN application_hours.start IS 'When the hour begins, in UTC';
COMMENT ON COLUMN application_hours.application IS 'The number of the application''s name';
COMMENT ON COLUMN application_hours.figures IS 'Counts, means and percentiles, packed';
INSERT INTO application_hours
    SELECT tenant_id, start, lead, summary FROM rollups WHERE level = 1 ORDER BY tenant_id, start, lead;
ALTER TABLE rollups DROP COLUMN summary;
