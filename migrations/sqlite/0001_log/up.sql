-- Tables that grow are led by tenant_id. Instants are microseconds since 1970 in UTC.

CREATE TABLE tenants (
    id         INTEGER NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;

-- The size of each log, and with it the next id.
CREATE TABLE heads (
    tenant_id       INTEGER NOT NULL PRIMARY KEY,
    size            INTEGER NOT NULL,
    created_at_last INTEGER NOT NULL
) STRICT;

-- The log. Its key is the order of writing, so that an append touches the last page only.
CREATE TABLE events (
    tenant_id       INTEGER NOT NULL,
    id              INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    device_id       TEXT    NOT NULL,
    application_id  TEXT    NOT NULL,
    connection_type TEXT    NOT NULL,
    status          TEXT    NOT NULL,
    timestamp       INTEGER NOT NULL,
    -- A byte for the family (4 or 6), then the address: blocks of addresses are ranges of bytes.
    ip_address      BLOB,
    user_agent      TEXT,
    duration        REAL,
    session_id      TEXT,
    event_id        TEXT,
    metadata        TEXT    NOT NULL,
    leaf_hash       BLOB    NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
    id           TEXT    NOT NULL PRIMARY KEY,
    tenant_id    INTEGER NOT NULL REFERENCES tenants (id),
    name         TEXT    NOT NULL,
    -- SHA-256 of the whole text of the token. The text itself is nowhere.
    secret_hash  BLOB    NOT NULL UNIQUE,
    -- Names with a space between them, as in OAuth 2.
    scopes       TEXT    NOT NULL,
    rate_events_per_second INTEGER,
    rate_burst_events      INTEGER,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    revoked_at   INTEGER
) STRICT;

-- Idempotency keys of requests (kind 1) and event ids (kind 2) within their window.
CREATE TABLE idempotency_keys (
    tenant_id   INTEGER NOT NULL,
    kind        INTEGER NOT NULL,
    key         TEXT    NOT NULL,
    -- Of the request's body; for requests only.
    fingerprint BLOB,
    -- The event that an event id names.
    record_id   INTEGER,
    -- What was answered; for requests only.
    answer      BLOB,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, kind, key)
) STRICT, WITHOUT ROWID;
