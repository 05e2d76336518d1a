CREATE TABLE keyed (
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

INSERT INTO keyed
SELECT tenant_id, id, created_at, device_id, application_id, connection_type, status, timestamp,
       ip_address, user_agent, duration, session_id, event_id, metadata, leaf_hash
  FROM events ORDER BY place;

DROP TABLE events;
ALTER TABLE keyed RENAME TO events;

DELETE FROM sqlite_stat1 WHERE tbl = 'events';
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('events', 'events', '10000000 10000000 1');
ANALYZE sqlite_schema;
