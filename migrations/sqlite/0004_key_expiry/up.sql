-- The cleaner looks for the oldest keys of a kind, again and again. Keys come in order of time: the
-- index grows at its end.
CREATE INDEX idempotency_keys_age ON idempotency_keys (kind, created_at);
