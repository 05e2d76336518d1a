-- Derived data, in a file beside the log (docs/decisions/011). All of it can be deleted and is derived anew.
-- Instants are microseconds since 1970 in UTC. Comments on columns stand in the migration of PostgreSQL.

-- One row: the version of the schema, and the oldest version that a program must know to work on it.
CREATE TABLE schema_version (
    version         INTEGER NOT NULL PRIMARY KEY,
    compatible_from INTEGER NOT NULL
) STRICT;
INSERT INTO schema_version VALUES (1, 1);

-- How far each follower has read: the last id that it has taken in. The anchor is that event's leaf hash: a log that
-- has another hash there is not the one that the data was derived from.
CREATE TABLE positions (
    tenant_id INTEGER NOT NULL,
    name      TEXT    NOT NULL,
    version   INTEGER NOT NULL,
    setting   INTEGER NOT NULL,
    watermark INTEGER NOT NULL,
    anchor    BLOB,
    PRIMARY KEY (tenant_id, name)
) STRICT, WITHOUT ROWID;

-- The index behind the log (docs/decisions/003): sorted runs, each over a span of ids, written in
-- bulk after the events. A run is made in one transaction: it is whole, or it is not there.
CREATE TABLE index_runs (
    tenant_id      INTEGER NOT NULL,
    run            INTEGER NOT NULL,
    level          INTEGER NOT NULL,
    first_id       INTEGER NOT NULL,
    last_id        INTEGER NOT NULL,
    created_at_min INTEGER NOT NULL,
    created_at_max INTEGER NOT NULL,
    timestamp_min  INTEGER NOT NULL,
    timestamp_max  INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, run)
) STRICT, WITHOUT ROWID;
-- The runs of one log, in its order. Some dozens of rows a log.
CREATE INDEX index_runs_log ON index_runs (tenant_id, first_id);

-- Blocks of a page each, written to the end of the table.
CREATE TABLE index_blocks (
    block     INTEGER NOT NULL PRIMARY KEY,
    tenant_id INTEGER NOT NULL,
    run       INTEGER NOT NULL,
    first_key BLOB    NOT NULL,
    entries   BLOB    NOT NULL,
    UNIQUE (tenant_id, run, first_key)
) STRICT;

-- Numbers for the names that derived data repeats: devices, applications, types, statuses, networks.
CREATE TABLE dictionary (
    tenant_id INTEGER NOT NULL,
    name      TEXT    NOT NULL,
    number    INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, name)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX dictionary_number ON dictionary (tenant_id, number);

-- Presence of devices. Each `…_seen` and `…_event` is the position of the event that the column before
-- it comes from.
CREATE TABLE devices (
    tenant_id           INTEGER NOT NULL,
    device_id           TEXT    NOT NULL,
    number              INTEGER NOT NULL,
    first_seen          INTEGER NOT NULL,
    last_seen           INTEGER NOT NULL,
    last_event          INTEGER NOT NULL,
    last_application_id TEXT    NOT NULL,
    last_status         TEXT    NOT NULL,
    ip_address          BLOB,
    ip_seen             INTEGER,
    ip_event            INTEGER,
    events              INTEGER NOT NULL,
    failures            INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, device_id)
) STRICT, WITHOUT ROWID;

-- Presence of applications.
CREATE TABLE applications (
    tenant_id      INTEGER NOT NULL,
    application_id TEXT    NOT NULL,
    first_seen     INTEGER NOT NULL,
    last_seen      INTEGER NOT NULL,
    devices        INTEGER NOT NULL,
    events         INTEGER NOT NULL,
    failures       INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, application_id)
) STRICT, WITHOUT ROWID;

-- Which devices an application has been used from, by their names' numbers.
CREATE TABLE application_devices (
    tenant_id   INTEGER NOT NULL,
    application INTEGER NOT NULL,
    device      INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, application, device)
) STRICT, WITHOUT ROWID;

-- Sessions (docs/decisions/017). Device, application and status are numbers of names. `at` is when it started, or
-- ended where no start is known; `event` the event that says so. A row before 1970 keeps what a key's events say
-- before its first session.
CREATE TABLE sessions (
    tenant_id    INTEGER NOT NULL,
    at           INTEGER NOT NULL,
    event        INTEGER NOT NULL,
    device       INTEGER NOT NULL,
    application  INTEGER NOT NULL,
    session_id   TEXT,
    session_hash INTEGER,
    start        INTEGER,
    end_at       INTEGER,
    end_event    INTEGER,
    end_status   INTEGER,
    end_duration REAL,
    last_at      INTEGER NOT NULL,
    more         BLOB,
    length       INTEGER NOT NULL,
    is_suspended INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, at, event)
) STRICT, WITHOUT ROWID;
-- Events of a session id look for the sessions of their key, by a hash of the id: it takes four bytes.
CREATE INDEX sessions_session ON sessions (tenant_id, session_hash, device, at) WHERE session_hash IS NOT NULL;
CREATE INDEX sessions_device ON sessions (tenant_id, device, at);
CREATE INDEX sessions_application ON sessions (tenant_id, application, at);
-- Events of a device and application without a session id look for their neighbours in time.
CREATE INDEX sessions_pair ON sessions (tenant_id, device, application, at) WHERE session_id IS NULL;
-- Lists of a time, and of ended sessions, go through one class of length after the other.
CREATE INDEX sessions_length ON sessions (tenant_id, length, at);
CREATE INDEX sessions_open ON sessions (tenant_id, device, is_suspended) WHERE length = 32;
CREATE INDEX sessions_open_application ON sessions (tenant_id, application, is_suspended, device) WHERE length = 32;

-- Statistics. Level 1: an hour of an application; 2: ten minutes of an application; 3: a day of a device; 4: an
-- hour; 5: a day, and a day of an application; 6: an hour of 1,024 devices; 7: a day of 1,024 devices. `lead` is the
-- number of the application's or device's name, or of the block of devices; 0 for all events. Within a row, `cells`
-- are the finer parts, and `whole` of level 3 their sum (docs/decisions/009 and 018). `whole` stands first: what is
-- behind it is on other pages.
CREATE TABLE rollups (
    tenant_id INTEGER NOT NULL,
    level     INTEGER NOT NULL,
    start     INTEGER NOT NULL,
    lead      INTEGER NOT NULL,
    whole     BLOB,
    cells     BLOB    NOT NULL,
    PRIMARY KEY (tenant_id, level, start, lead)
) STRICT, WITHOUT ROWID;

-- The figures of an hour of an application, as answers have them: apart from the rollups' cells, which
-- are fifty times their size (docs/decisions/009).
CREATE TABLE application_hours (
    tenant_id   INTEGER NOT NULL,
    start       INTEGER NOT NULL,
    application INTEGER NOT NULL,
    figures     BLOB    NOT NULL,
    PRIMARY KEY (tenant_id, start, application)
) STRICT, WITHOUT ROWID;

-- Statistics for the planner, as in the log's own file (docs/decisions/004).
ANALYZE sqlite_schema;
DELETE FROM sqlite_stat1;
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('positions', 'positions', '4 4 1'),
    ('index_runs', 'index_runs', '50 50 1'),
    ('index_runs', 'index_runs_log', '50 50 1'),
    ('index_blocks', 'sqlite_autoindex_index_blocks_1', '100000 100000 2000 1'),
    ('dictionary', 'dictionary', '5000 5000 1'),
    ('dictionary', 'dictionary_number', '5000 5000 1'),
    ('devices', 'devices', '5000 5000 1'),
    ('applications', 'applications', '50 50 1'),
    ('application_devices', 'application_devices', '100000 100000 2000 1'),
    ('sessions', 'sessions', '4000000 4000000 1 1'),
    ('sessions', 'sessions_session', '4000000 4000000 1 1 1'),
    ('sessions', 'sessions_device', '4000000 4000000 800 1'),
    ('sessions', 'sessions_application', '4000000 4000000 80000 1'),
    ('sessions', 'sessions_pair', '4000000 4000000 800 40 1'),
    ('sessions', 'sessions_length', '4000000 4000000 200000 1'),
    ('sessions', 'sessions_open', '5000 5000 2 1'),
    ('sessions', 'sessions_open_application', '5000 5000 100 50 1'),
    ('rollups', 'rollups', '300000 300000 100000 100 1'),
    ('application_hours', 'application_hours', '40000 40000 50 1');
-- Has this connection read them; others do when they see the new schema.
ANALYZE sqlite_schema;
