-- Distributes the tables of a migrated, empty log by tenant, on Citus:
--   conn-log migrate && psql "$CONN_LOG_DATABASE_URL" -f scripts/citus.sql
--
-- State: written to Citus 13's documentation; each kind of statement was tried on Citus 13.2 with
-- tables like these, this file as a whole was not.
\set ON_ERROR_STOP on
BEGIN;
-- Small, and looked up by every node.
SELECT create_reference_table('tenants');
SELECT create_reference_table('tokens');
-- Each tenant's head, keys and events lie on one node: an append is a transaction of that node.
SELECT create_distributed_table('heads', 'tenant_id');
SELECT create_distributed_table('idempotency_keys', 'tenant_id', colocate_with => 'heads');
SELECT create_distributed_table('events', 'tenant_id', colocate_with => 'heads');
COMMIT;
