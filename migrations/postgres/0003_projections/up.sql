-- What is derived from the log. Everything here can be dropped and computed anew
-- (`conn-log rebuild`), names excepted: numbers that others refer to. Texts that pages are ordered
-- by compare by bytes, as the program does.

CREATE TABLE projections (
    tenant_id integer NOT NULL,
    name      text    NOT NULL,
    watermark bigint  NOT NULL,
    PRIMARY KEY (tenant_id, name)
) WITH (fillfactor = 50);
COMMENT ON TABLE projections IS 'How far each projection has read. A tenant''s row `presence`, locked, is the lease to work on all of them';
COMMENT ON COLUMN projections.watermark IS 'The last id taken in';

CREATE TABLE names (
    tenant_id integer NOT NULL,
    name      text    NOT NULL,
    number    integer NOT NULL,
    PRIMARY KEY (tenant_id, name),
    UNIQUE (tenant_id, number)
);
COMMENT ON TABLE names IS 'Numbers for the texts that projections repeat: devices, applications, types, statuses, networks';

CREATE TABLE devices (
    tenant_id           integer     NOT NULL,
    device_id           text        NOT NULL COLLATE "C",
    first_seen          timestamptz NOT NULL,
    last_seen           timestamptz NOT NULL,
    last_event          bigint      NOT NULL,
    last_application_id text        NOT NULL,
    last_status         text        NOT NULL,
    ip_address          inet,
    ip_seen             timestamptz,
    ip_event            bigint,
    connected           boolean     NOT NULL,
    connected_seen      timestamptz,
    connected_event     bigint,
    events              bigint      NOT NULL,
    failures            bigint      NOT NULL,
    PRIMARY KEY (tenant_id, device_id)
) WITH (fillfactor = 70);
COMMENT ON TABLE devices IS 'Presence of devices. Each …_seen and …_event is the place of the event that the column before it comes from';

CREATE TABLE applications (
    tenant_id      integer     NOT NULL,
    application_id text        NOT NULL COLLATE "C",
    first_seen     timestamptz NOT NULL,
    last_seen      timestamptz NOT NULL,
    devices        bigint      NOT NULL,
    events         bigint      NOT NULL,
    failures       bigint      NOT NULL,
    PRIMARY KEY (tenant_id, application_id)
) WITH (fillfactor = 50);
COMMENT ON TABLE applications IS 'Presence of applications';

CREATE TABLE application_devices (
    tenant_id   integer NOT NULL,
    application integer NOT NULL,
    device      integer NOT NULL,
    PRIMARY KEY (tenant_id, application, device)
);
COMMENT ON TABLE application_devices IS 'Which devices an application has been used from, by their names'' numbers';

CREATE TABLE sessions (
    tenant_id    integer     NOT NULL,
    at           timestamptz NOT NULL,
    event        bigint      NOT NULL,
    device       integer     NOT NULL,
    application  integer     NOT NULL,
    session_id   text,
    start_at     timestamptz,
    start_event  bigint,
    end_at       timestamptz,
    end_event    bigint,
    end_status   integer,
    end_duration double precision,
    is_open      boolean     NOT NULL,
    PRIMARY KEY (tenant_id, at, event)
) WITH (fillfactor = 80);
COMMENT ON TABLE sessions IS 'Sessions. Device, application and status are numbers of names';
COMMENT ON COLUMN sessions.at IS 'When it started, or ended where no start is known; event is the one that says so';
COMMENT ON COLUMN sessions.end_event IS 'NULL where the next start ended it';
COMMENT ON COLUMN sessions.end_duration IS 'Seconds, as the ending event gives them';
CREATE INDEX sessions_session ON sessions (tenant_id, session_id) WHERE session_id IS NOT NULL;
CREATE INDEX sessions_device ON sessions (tenant_id, device, at);
CREATE INDEX sessions_application ON sessions (tenant_id, application, at);
CREATE INDEX sessions_open ON sessions (tenant_id, device, application) WHERE is_open;
CREATE INDEX sessions_open_application ON sessions (tenant_id, application) WHERE is_open;

CREATE TABLE rollups (
    tenant_id integer     NOT NULL,
    level     smallint    NOT NULL,
    start     timestamptz NOT NULL,
    lead      integer     NOT NULL,
    summary   bytea,
    cells     bytea       NOT NULL,
    PRIMARY KEY (tenant_id, level, start, lead)
) WITH (fillfactor = 80);
COMMENT ON TABLE rollups IS 'Statistics. Level 1: an hour of an application; 2: ten minutes of an application; 3: a day of a device';
COMMENT ON COLUMN rollups.lead IS 'The number of the application''s or device''s name';
COMMENT ON COLUMN rollups.summary IS 'The whole of a row of level 1';
COMMENT ON COLUMN rollups.cells IS 'The finer parts of the row';
CREATE INDEX rollups_device ON rollups (tenant_id, lead, start) WHERE level = 3;
