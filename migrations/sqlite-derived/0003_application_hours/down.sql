ALTER TABLE rollups ADD COLUMN summary BLOB;
UPDATE rollups SET summary = (SELECT figures FROM application_hours AS hour
    WHERE hour.tenant_id = rollups.tenant_id AND hour.start = rollups.start AND hour.application = rollups.lead)
    WHERE level = 1;
DROP TABLE application_hours;
DELETE FROM sqlite_stat1 WHERE tbl = 'application_hours';
ANALYZE sqlite_schema;
