-- The log and its control tables. Tables that grow are led by tenant_id. Instants are microseconds since 1970 in
-- UTC. Comments on columns stand in the migration of PostgreSQL.

-- One row: the version of the schema, and the oldest version that a program must know to work on it.
CREATE TABLE schema_version (
    version         INTEGER NOT NULL PRIMARY KEY,
    compatible_from INTEGER NOT NULL
) STRICT;
INSERT INTO schema_version VALUES (1, 1);

CREATE TABLE tenants (
    id         INTEGER NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;

-- Where each log begins and ends.
CREATE TABLE heads (
    tenant_id       INTEGER NOT NULL PRIMARY KEY,
    first_id        INTEGER NOT NULL,
    size            INTEGER NOT NULL,
    created_at_last INTEGER NOT NULL
) STRICT;

-- The log. Its key is one number, the row id, with the tenant above the 44 bits of the id. A table with such a key
-- grows at its last page alone; with a key of two columns each append has the three pages at the end balanced
-- (docs/decisions/014). Rows are found by their row id; tenant_id and id are computed from it, and find nothing.
CREATE TABLE events (
    row_id          INTEGER NOT NULL PRIMARY KEY,
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
    -- JSON; or packed, which begins with a digit: numbers of texts, and values (docs/decisions/036). A packed row may
    -- have its user agent there.
    metadata        TEXT    NOT NULL,
    leaf_hash       BLOB    NOT NULL,
    tenant_id       INTEGER NOT NULL AS (row_id >> 44),
    id              INTEGER NOT NULL AS (row_id & 0xfffffffffff)
) STRICT;

-- Texts that events repeat: of kind 1 the names of metadata's members, as JSON strings with tabs between them; of kind
-- 2 user agents. A text is never changed or removed: rows of events have its number.
CREATE TABLE texts (
    tenant_id INTEGER NOT NULL,
    kind      INTEGER NOT NULL,
    number    INTEGER NOT NULL,
    text      TEXT    NOT NULL,
    PRIMARY KEY (tenant_id, kind, number)
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
    revoked_at   INTEGER,
    device_id      TEXT,
    application_id TEXT,
    on_reject      TEXT,
    handling       TEXT
) STRICT;
CREATE INDEX tokens_tenant ON tokens (tenant_id, created_at, id);

-- Idempotency keys of requests for events (kind 1) and for objects (kind 3), and event ids (kind 2), within their window.
CREATE TABLE idempotency_keys (
    tenant_id   INTEGER NOT NULL,
    kind        INTEGER NOT NULL,
    key         TEXT    NOT NULL,
    -- Of the request; for requests only.
    fingerprint BLOB,
    -- The event that an event id names.
    record_id   INTEGER,
    -- The answer to a repeat; for requests only.
    answer      BLOB,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, kind, key)
) STRICT, WITHOUT ROWID;
-- The cleaner looks for the oldest keys of a kind, again and again. Keys come in order of time: the
-- index grows at its end.
CREATE INDEX idempotency_keys_age ON idempotency_keys (kind, created_at);

-- Events that were refused and kept (on_reject=keep), by number; a number is not used again.
CREATE TABLE rejects (
    tenant_id    INTEGER NOT NULL,
    id           INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    token_id     TEXT    NOT NULL,
    codes        TEXT    NOT NULL,
    content_type TEXT    NOT NULL,
    truncated    INTEGER NOT NULL,
    problem      TEXT    NOT NULL,
    -- Last, so that a search need not read its pages.
    body         BLOB    NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE TABLE reject_heads (
    tenant_id INTEGER NOT NULL PRIMARY KEY,
    last_id   INTEGER NOT NULL,
    kept      INTEGER NOT NULL
) STRICT;

-- How far each durable follower has read (its rebuildable fellows are in the file beside this one).
CREATE TABLE durable_positions (
    tenant_id INTEGER NOT NULL,
    name      TEXT    NOT NULL,
    version   INTEGER NOT NULL,
    setting   INTEGER NOT NULL,
    watermark INTEGER NOT NULL,
    anchor    BLOB,
    PRIMARY KEY (tenant_id, name)
) STRICT, WITHOUT ROWID;

-- The changes of alerts, in commit order: the outbox of notifications.
CREATE TABLE alert_changes (
    tenant_id INTEGER NOT NULL,
    change_id INTEGER NOT NULL,
    change    TEXT    NOT NULL,
    at        INTEGER NOT NULL,
    alert     TEXT    NOT NULL,
    PRIMARY KEY (tenant_id, change_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE webhooks (
    tenant_id           INTEGER NOT NULL,
    id                  TEXT    NOT NULL,
    url                 TEXT    NOT NULL,
    format              TEXT    NOT NULL,
    filter              TEXT    NOT NULL,
    routing_key         TEXT,
    secret              TEXT    NOT NULL,
    secret_before       TEXT,
    secret_before_until INTEGER,
    position            INTEGER NOT NULL,
    delivery_last       INTEGER NOT NULL,
    disabled_at         INTEGER,
    disabled_reason     TEXT,
    failing_since       INTEGER,
    failed_at           INTEGER,
    created_at          INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE deliveries (
    tenant_id       INTEGER NOT NULL,
    webhook_id      TEXT    NOT NULL,
    id              INTEGER NOT NULL,
    change_id       INTEGER,
    change          TEXT    NOT NULL,
    alert_id        TEXT,
    state           TEXT    NOT NULL,
    attempts        INTEGER NOT NULL,
    tries           INTEGER NOT NULL,
    next_attempt_at INTEGER,
    claim           TEXT,
    claimed_until   INTEGER,
    waiting_since   INTEGER,
    created_at      INTEGER NOT NULL,
    ended_at        INTEGER,
    PRIMARY KEY (tenant_id, webhook_id, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX deliveries_change ON deliveries (tenant_id, webhook_id, change_id);
CREATE INDEX deliveries_alert ON deliveries (tenant_id, webhook_id, alert_id, change_id);
CREATE INDEX deliveries_due ON deliveries (tenant_id, webhook_id, next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX deliveries_waiting ON deliveries (waiting_since) WHERE waiting_since IS NOT NULL;
CREATE INDEX deliveries_age ON deliveries (tenant_id, created_at);

CREATE TABLE delivery_attempts (
    tenant_id   INTEGER NOT NULL,
    webhook_id  TEXT    NOT NULL,
    delivery_id INTEGER NOT NULL,
    attempt     INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    status      INTEGER,
    error       TEXT,
    duration    REAL    NOT NULL,
    answer      TEXT,
    PRIMARY KEY (tenant_id, webhook_id, delivery_id, attempt)
) STRICT, WITHOUT ROWID;

CREATE TABLE silences (
    tenant_id  INTEGER NOT NULL,
    id         TEXT    NOT NULL,
    matcher    TEXT    NOT NULL,
    until      INTEGER NOT NULL,
    reason     TEXT    NOT NULL,
    created_by TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;

-- The rules of each log, as JSON.
CREATE TABLE alert_rules (
    tenant_id  INTEGER NOT NULL,
    rule_id    INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    is_enabled INTEGER NOT NULL,
    -- The rule looks at events with higher ids only.
    after_id   INTEGER NOT NULL,
    definition TEXT    NOT NULL,
    started_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, rule_id)
) STRICT, WITHOUT ROWID;

-- One row for each log that has had rules: the last numbers given, and which process evaluates.
CREATE TABLE alert_heads (
    tenant_id  INTEGER NOT NULL PRIMARY KEY,
    -- Grows with each change of a rule.
    revision   INTEGER NOT NULL,
    rules      INTEGER NOT NULL,
    alerts     INTEGER NOT NULL,
    holder     TEXT    NOT NULL,
    held_until INTEGER NOT NULL
) STRICT;

CREATE TABLE alerts (
    tenant_id    INTEGER NOT NULL,
    alert_id     INTEGER NOT NULL,
    rule_id      INTEGER NOT NULL,
    rule_version INTEGER NOT NULL,
    kind         TEXT    NOT NULL,
    severity     TEXT    NOT NULL,
    state        TEXT    NOT NULL,
    group_hash   INTEGER NOT NULL,
    group_json   TEXT    NOT NULL,
    slot         INTEGER NOT NULL,
    opened_by    INTEGER NOT NULL,
    started_at   INTEGER NOT NULL,
    ended_at     INTEGER NOT NULL,
    detected_at  INTEGER NOT NULL,
    merged_into  INTEGER,
    -- JSON: the rule's name, the explanation, a note, and what the evaluation goes on with.
    body         TEXT    NOT NULL,
    PRIMARY KEY (tenant_id, alert_id)
) STRICT, WITHOUT ROWID;
-- An event opens one alert of a group at most, however often it is evaluated.
CREATE UNIQUE INDEX alerts_opening ON alerts (tenant_id, rule_id, rule_version, group_hash, opened_by, slot);

-- Statistics for the planner. Without any SQLite takes the first column of every key for a selective one, and
-- goes through all of a tenant's rows. The figures are those of a log of ten million events: rows, then how many
-- share the first column, the first two, and so on
-- (https://sqlite.org/optoverview.html, "Manual Control Of Query Plans Using SQLITE_STAT Tables").
-- They are set and not measured, so that plans are the same everywhere; ANALYZE is not needed.
ANALYZE sqlite_schema;
DELETE FROM sqlite_stat1;
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    -- A table found by its rowid has no index to tell of.
    ('events', NULL, '10000000'),
    ('texts', 'texts', '100 100 50 1'),
    ('idempotency_keys', 'idempotency_keys', '1000000 1000000 500000 1'),
    ('idempotency_keys', 'idempotency_keys_age', '1000000 500000 1'),
    ('rejects', 'sqlite_autoindex_rejects_1', '100000 10000 1'),
    ('durable_positions', 'durable_positions', '3 3 1'),
    ('alert_changes', 'alert_changes', '100000 50000 1'),
    ('alert_rules', 'alert_rules', '1000 100 1'),
    ('alerts', 'alerts', '1000000 500000 1'),
    ('alerts', 'alerts_opening', '1000000 500000 10000 10000 4 1 1'),
    ('tokens', 'sqlite_autoindex_tokens_1', '100000 1'),
    ('tokens', 'sqlite_autoindex_tokens_2', '100000 1'),
    ('tokens', 'tokens_tenant', '100000 10000 1 1'),
    ('webhooks', 'webhooks', '100 10 1'),
    ('deliveries', 'deliveries', '200000 100000 10000 1'),
    ('deliveries', 'deliveries_change', '200000 100000 10000 1'),
    ('deliveries', 'deliveries_alert', '200000 100000 10000 4 1'),
    ('deliveries', 'deliveries_due', '1000 500 100 1'),
    ('deliveries', 'deliveries_waiting', '1000 1'),
    ('deliveries', 'deliveries_age', '200000 100000 10'),
    ('delivery_attempts', 'delivery_attempts', '200000 100000 10000 2 1'),
    ('silences', 'silences', '100 10 1');
-- Has this connection read them; others do when they see the new schema.
ANALYZE sqlite_schema;
