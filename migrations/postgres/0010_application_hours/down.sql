ALTER TABLE rollups ADD COLUMN summary bytea;
COMMENT ON COLUMN rollups.summary IS 'The whole of a row of level 1';
UPDATE rollups SET summary = (SELECT figures FROM application_hours AS hour
    WHERE hour.tenant_id = rollups.tenant_id AND hour.start = rollups.start AND hour.application = rollups.lead)
    WHERE level = 1;
DROP TABLE application_hours;
