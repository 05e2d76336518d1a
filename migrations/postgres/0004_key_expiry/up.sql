-- The cleaner looks for the oldest keys of a kind, again and again. BRIN does not stay narrow where
-- the space of forgotten keys is used anew; a B-tree grows at its end.
CREATE INDEX idempotency_keys_age ON idempotency_keys (kind, created_at);
DROP INDEX idempotency_keys_created_at;
