-- The index behind the log (docs/decisions/003): sorted runs, each over a span of ids, written in
-- bulk after the events. Derived: whatever is here can be dropped and is made anew.

CREATE TABLE index_runs (
    -- Never used twice, so that what was written for a run that was dropped is never another's.
    run           INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    tenant_id     INTEGER NOT NULL,
    level         INTEGER NOT NULL,
    -- 0 being written, 1 in use, 2 to be removed.
    state         INTEGER NOT NULL,
    first_id      INTEGER NOT NULL,
    last_id       INTEGER NOT NULL,
    timestamp_min INTEGER NOT NULL,
    timestamp_max INTEGER NOT NULL
) STRICT;

-- The runs of one log, in its order. Some dozens of rows a log.
CREATE INDEX index_runs_log ON index_runs (tenant_id, state, first_id);

-- Blocks of a page each. Not led by tenant_id: a run is one log's, and led by the run every
-- write goes to the end.
CREATE TABLE index_blocks (
    block     INTEGER NOT NULL PRIMARY KEY,
    run       INTEGER NOT NULL,
    first_key BLOB    NOT NULL,
    entries   BLOB    NOT NULL,
    UNIQUE (run, first_key)
) STRICT;

-- What is derived from the log. Everything here can be dropped and computed anew
-- (`conn-log rebuild`), names excepted: numbers that others refer to.

-- How far each projection has read: the last id that it has taken in.
CREATE TABLE projections (
    tenant_id INTEGER NOT NULL,
    name      TEXT    NOT NULL,
    watermark INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, name)
) STRICT, WITHOUT ROWID;

-- Numbers for the texts that projections repeat: devices, applications, types, statuses, networks.
CREATE TABLE names (
    tenant_id INTEGER NOT NULL,
    name      TEXT    NOT NULL,
    number    INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, name)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX names_number ON names (tenant_id, number);

-- Presence of devices. Each `…_seen` and `…_event` is the place of the event that the column before
-- it comes from.
CREATE TABLE devices (
    tenant_id           INTEGER NOT NULL,
    device_id           TEXT    NOT NULL,
    first_seen          INTEGER NOT NULL,
    last_seen           INTEGER NOT NULL,
    last_event          INTEGER NOT NULL,
    last_application_id TEXT    NOT NULL,
    last_status         TEXT    NOT NULL,
    ip_address          BLOB,
    ip_seen             INTEGER,
    ip_event            INTEGER,
    connected           INTEGER NOT NULL,
    connected_seen      INTEGER,
    connected_event     INTEGER,
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

-- Sessions. Device, application and status are numbers of names. `at` is when it started, or
-- ended where no start is known; `event` the event that says so.
CREATE TABLE sessions (
    tenant_id    INTEGER NOT NULL,
    at           INTEGER NOT NULL,
    event        INTEGER NOT NULL,
    device       INTEGER NOT NULL,
    application  INTEGER NOT NULL,
    session_id   TEXT,
    start_at     INTEGER,
    start_event  INTEGER,
    end_at       INTEGER,
    end_event    INTEGER,
    end_status   INTEGER,
    end_duration REAL,
    is_open      INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, at, event)
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_session ON sessions (tenant_id, session_id) WHERE session_id IS NOT NULL;
CREATE INDEX sessions_device ON sessions (tenant_id, device, at);
CREATE INDEX sessions_application ON sessions (tenant_id, application, at);
CREATE INDEX sessions_open ON sessions (tenant_id, device, application) WHERE is_open;
CREATE INDEX sessions_open_application ON sessions (tenant_id, application) WHERE is_open;

-- Statistics. Level 1: an hour of an application; 2: ten minutes of an application; 3: a day of a
-- device. `lead` is the number of the application's or device's name. Within a row, `cells` are the
-- finer parts (docs/decisions/009), `summary` the whole of a row of level 1.
CREATE TABLE rollups (
    tenant_id INTEGER NOT NULL,
    level     INTEGER NOT NULL,
    start     INTEGER NOT NULL,
    lead      INTEGER NOT NULL,
    summary   BLOB,
    cells     BLOB    NOT NULL,
    PRIMARY KEY (tenant_id, level, start, lead)
) STRICT, WITHOUT ROWID;
CREATE INDEX rollups_device ON rollups (tenant_id, lead, start) WHERE level = 3;

CREATE INDEX sessions_pair ON sessions (tenant_id, device, application, at) WHERE session_id IS NULL;
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('index_runs', 'index_runs_log', '50 50 50 1'),
    ('index_blocks', 'sqlite_autoindex_index_blocks_1', '100000 2000 1'),
    ('projections', 'projections', '3 3 1'),
    ('names', 'names', '5000 5000 1'),
    ('names', 'names_number', '5000 5000 1'),
    ('devices', 'devices', '5000 5000 1'),
    ('applications', 'applications', '50 50 1'),
    ('application_devices', 'application_devices', '100000 100000 2000 1'),
    ('sessions', 'sessions', '4000000 4000000 1 1'),
    ('sessions', 'sessions_session', '4000000 4000000 1'),
    ('sessions', 'sessions_device', '4000000 4000000 800 1'),
    ('sessions', 'sessions_application', '4000000 4000000 80000 1'),
    ('sessions', 'sessions_pair', '4000000 4000000 800 40 1'),
    ('sessions', 'sessions_open', '5000 5000 2 1'),
    ('sessions', 'sessions_open_application', '5000 5000 100'),
    ('rollups', 'rollups', '300000 300000 100000 100 1'),
    ('rollups', 'rollups_device', '100000 100000 30 1');
ANALYZE sqlite_schema;
