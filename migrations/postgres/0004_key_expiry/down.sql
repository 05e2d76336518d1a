CREATE INDEX idempotency_keys_created_at ON idempotency_keys USING brin (created_at);
DROP INDEX idempotency_keys_age;
