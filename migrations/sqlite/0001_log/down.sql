DROP TABLE idempotency_keys;
DROP TABLE tokens;
DROP TABLE events;
DROP TABLE heads;
DROP TABLE tenants;
