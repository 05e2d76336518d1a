-- A block of addresses within a window of time: the index tells what lies in the window, and no other row
-- of the block is read. For one address the order of the log stays the index's own.
DROP INDEX events_address;
CREATE INDEX events_address ON events (tenant_id, ip_address, id, timestamp) WHERE ip_address IS NOT NULL;
