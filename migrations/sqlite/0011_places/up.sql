-- The log under one number a row, the place, with the tenant above the 44 bits of the id. A table with
-- such a key grows at its last page alone; with a key of two columns each append had the three pages at
-- its end balanced, which was three of the eight pages that a commit wrote (docs/decisions/014). Rows
-- are found by their place; tenant_id and id are made of it, and find nothing.
-- All events are written anew: for a while the file, and the write-ahead log beside it, take as much again.
CREATE TABLE placed (
    place           INTEGER NOT NULL PRIMARY KEY,
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
    tenant_id       INTEGER NOT NULL AS (place >> 44),
    id              INTEGER NOT NULL AS (place & 0xfffffffffff)
) STRICT;

INSERT INTO placed (
    place, created_at, device_id, application_id, connection_type, status, timestamp, ip_address,
    user_agent, duration, session_id, event_id, metadata, leaf_hash
)
SELECT tenant_id << 44 | id, created_at, device_id, application_id, connection_type, status, timestamp,
       ip_address, user_agent, duration, session_id, event_id, metadata, leaf_hash
  FROM events ORDER BY tenant_id, id;

DROP TABLE events;
ALTER TABLE placed RENAME TO events;

-- As 0005 explains. A table found by its rowid has no index to tell of.
DELETE FROM sqlite_stat1 WHERE tbl = 'events';
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('events', NULL, '10000000');
ANALYZE sqlite_schema;
