-- Tables that grow are led by tenant_id and refer to no other table, so that they can be
-- distributed by it (scripts/citus.sql).

CREATE TABLE tenants (
    id         integer     NOT NULL PRIMARY KEY,
    name       text        NOT NULL UNIQUE,
    created_at timestamptz NOT NULL
);
COMMENT ON TABLE tenants IS 'Owners of one log each';

CREATE TABLE heads (
    tenant_id       integer     NOT NULL PRIMARY KEY,
    size            bigint      NOT NULL,
    created_at_last timestamptz NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE heads IS 'The size of each log; locking the row is the turn to append to it';
COMMENT ON COLUMN heads.size IS 'The last id of the log';
COMMENT ON COLUMN heads.created_at_last IS 'created_at of the last event; it never goes back within a log';

CREATE TABLE events (
    tenant_id       integer          NOT NULL,
    id              bigint           NOT NULL,
    created_at      timestamptz      NOT NULL,
    device_id       text             NOT NULL,
    application_id  text             NOT NULL,
    connection_type text             NOT NULL,
    status          text             NOT NULL,
    timestamp       timestamptz      NOT NULL,
    ip_address      inet,
    user_agent      text,
    duration        double precision,
    session_id      text,
    event_id        text,
    metadata        jsonb            NOT NULL,
    leaf_hash       bytea            NOT NULL,
    PRIMARY KEY (tenant_id, id, created_at)
) PARTITION BY RANGE (created_at);
COMMENT ON TABLE events IS 'The log. Append-only; partitioned by created_at, so that retention drops partitions';
COMMENT ON COLUMN events.id IS 'Place in the log of the tenant: 1, 2, 3 … with no gap, in commit order';
COMMENT ON COLUMN events.created_at IS 'When the log took the event in; never goes back within a log';
COMMENT ON COLUMN events.timestamp IS 'When it happened, as the client says';
COMMENT ON COLUMN events.duration IS 'Seconds';
COMMENT ON COLUMN events.session_id IS 'Given as a field or within the metadata';
COMMENT ON COLUMN events.event_id IS 'The client''s own name for the event';
COMMENT ON COLUMN events.leaf_hash IS 'RFC 6962 leaf hash of the record';

-- One device's events, in the order of the log.
CREATE INDEX events_device ON events (tenant_id, device_id, id);
-- Spans of time: events come nearly in order of timestamp, so that a few pages are read.
CREATE INDEX events_timestamp ON events USING brin (timestamp) WITH (pages_per_range = 32);

CREATE TABLE tokens (
    id           uuid        NOT NULL PRIMARY KEY,
    tenant_id    integer     NOT NULL REFERENCES tenants (id),
    name         text        NOT NULL,
    secret_hash  bytea       NOT NULL UNIQUE,
    scopes       text        NOT NULL,
    rate_events_per_second integer,
    rate_burst_events      integer,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz,
    revoked_at   timestamptz
);
COMMENT ON TABLE tokens IS 'Who may use the interface. A few rows for each tenant';
COMMENT ON COLUMN tokens.secret_hash IS 'SHA-256 of the whole text of the token; the text itself is nowhere';
COMMENT ON COLUMN tokens.scopes IS 'Names with a space between them, as in OAuth 2';

CREATE TABLE idempotency_keys (
    tenant_id   integer     NOT NULL,
    kind        smallint    NOT NULL,
    key         text        NOT NULL,
    fingerprint bytea,
    record_id   bigint,
    answer      bytea,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, kind, key)
);
COMMENT ON TABLE idempotency_keys IS 'Idempotency keys of requests (kind 1) and event ids (kind 2) within their window';
COMMENT ON COLUMN idempotency_keys.fingerprint IS 'Of the request''s body; for requests only';
COMMENT ON COLUMN idempotency_keys.record_id IS 'The event that an event id names';
COMMENT ON COLUMN idempotency_keys.answer IS 'What was answered; for requests only';
-- The cleaner looks for the oldest; keys come in order of time.
CREATE INDEX idempotency_keys_created_at ON idempotency_keys USING brin (created_at);
