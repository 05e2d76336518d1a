DROP INDEX events_address;
CREATE INDEX events_address ON events (tenant_id, ip_address, id) WHERE ip_address IS NOT NULL;
