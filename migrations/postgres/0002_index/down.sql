DROP INDEX events_window;
CREATE INDEX events_timestamp ON events USING brin (timestamp) WITH (pages_per_range = 32);
DROP INDEX events_time;
DROP INDEX events_address;
DROP INDEX events_failure;
DROP INDEX events_session;
