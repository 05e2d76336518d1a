-- Distributes the tables of a migrated log by tenant, on Citus:
--
--   psql "$CONN_LOG_DATABASE_URL" -c 'CREATE EXTENSION citus'   -- as a superuser, on every node
--   psql "$CONN_LOG_DATABASE_URL" -c "SELECT citus_set_coordinator_host('coordinator.example')"
--   psql "$CONN_LOG_DATABASE_URL" -c "SELECT citus_add_node('worker-1.example', 5432)"
--   conn-log migrate
--   psql "$CONN_LOG_DATABASE_URL" -f scripts/citus.sql
--
-- Run it on the coordinator, as the owner of the tables, after `conn-log migrate` and before the
-- first event. Running it again changes nothing, and takes in what is not distributed yet.
--
-- State: written to the documentation of Citus 13. On Citus 13.2 with PostgreSQL 15 each kind of
-- statement was tried with tables like these: distribution by tenant with partitions by time,
-- reference tables, ON CONFLICT … RETURNING, COPY, keyset pages, migrations, and that a transaction
-- of one tenant goes to one shard. This file as a whole, the server on top of it, and partitions
-- that the server attaches later were not. Without Citus the file was run on PostgreSQL 15 against
-- stand-ins for its functions, which shows no more than that its SQL holds.
\set ON_ERROR_STOP on
BEGIN;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus') THEN
        RAISE EXCEPTION 'this database has no extension citus: CREATE EXTENSION citus comes first';
    END IF;
    IF to_regclass('events') IS NULL THEN
        RAISE EXCEPTION 'this database has no log yet: conn-log migrate comes first';
    END IF;
    IF EXISTS (SELECT FROM events)
       AND NOT EXISTS (SELECT FROM citus_tables WHERE table_name = 'events'::regclass) THEN
        RAISE EXCEPTION 'the log has events: distributing would keep a second, hidden copy of them';
    END IF;
END
$$;

-- Small, and read by every node. tokens refers to tenants, which therefore comes first.
SELECT create_reference_table(name)
  FROM unnest(ARRAY['tenants', 'tokens']) WITH ORDINALITY AS wanted (name, place)
 WHERE NOT EXISTS (SELECT FROM citus_tables WHERE table_name = name::regclass)
 ORDER BY place;

-- Each tenant's head, keys, events and what is derived from them lie on one node: an append to one
-- log is a transaction of that node. The table that the others lie beside comes first.
SELECT create_distributed_table('heads', 'tenant_id')
 WHERE NOT EXISTS (SELECT FROM citus_tables WHERE table_name = 'heads'::regclass);
SELECT create_distributed_table(name, 'tenant_id', colocate_with => 'heads')
  FROM unnest(ARRAY['idempotency_keys', 'rejects', 'reject_heads', 'events', 'index_runs', 'index_blocks',
                    'positions', 'durable_positions', 'alert_changes', 'alert_rules',
                    'alert_heads', 'alerts', 'webhooks', 'deliveries',
                    'delivery_attempts', 'silences', 'dictionary', 'devices', 'applications',
                    'application_devices', 'sessions',
                    'rollups', 'application_hours']) AS wanted (name)
 WHERE NOT EXISTS (SELECT FROM citus_tables WHERE table_name = name::regclass);

DO $$
DECLARE
    forgotten text;
BEGIN
    SELECT string_agg(oid::regclass::text, ', ') INTO forgotten
      FROM pg_class
     WHERE relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'heads'::regclass)
       AND relkind IN ('r', 'p') AND NOT relispartition
       AND relname <> '__diesel_schema_migrations'
       AND oid IN (SELECT attrelid FROM pg_attribute WHERE attname = 'tenant_id')
       AND oid NOT IN (SELECT table_name FROM citus_tables);
    IF forgotten IS NOT NULL THEN
        RAISE EXCEPTION 'this file does not know the tables %: add them to it', forgotten;
    END IF;
END
$$;

-- tenants and tokens are of kind reference, all others distributed, by tenant_id, with one
-- colocation_id.
SELECT table_name, citus_table_type, distribution_column, colocation_id
  FROM citus_tables
 ORDER BY 2 DESC, 1;
COMMIT;
