-- Each serves a list, and costs an append: docs/decisions/003 has the figures.

-- What belongs to one session.
CREATE INDEX events_session ON events (tenant_id, session_id, id) WHERE session_id IS NOT NULL;
-- An application's failures. Few events are any: the cheapest of all.
CREATE INDEX events_failure ON events (tenant_id, application_id, id) WHERE status <> 'success';
-- Blocks of addresses.
CREATE INDEX events_address ON events (tenant_id, ip_address, id) WHERE ip_address IS NOT NULL;
-- Lists in order of time. Its end is where events come in. BRIN gives no order.
CREATE INDEX events_time ON events (tenant_id, timestamp, id);
DROP INDEX events_timestamp;
-- Windows of time in the order of the log: zone by zone of 16,384 ids, in each the window's events.
CREATE INDEX events_window ON events (tenant_id, (id >> 14), timestamp, id);
