-- The log, its control tables, and derived data. Tables that grow are led by tenant_id and refer to no other table,
-- so that they can be distributed by it (conn-log migrate --citus).

CREATE TABLE schema_version (
    version         integer NOT NULL PRIMARY KEY,
    compatible_from integer NOT NULL
);
COMMENT ON TABLE schema_version IS 'One row: what the schema is';
COMMENT ON COLUMN schema_version.version IS 'Number of the last migration';
COMMENT ON COLUMN schema_version.compatible_from IS 'The oldest version that a program must know to work on this schema';
INSERT INTO schema_version VALUES (1, 1);

CREATE TABLE tenants (
    id         integer     NOT NULL PRIMARY KEY,
    name       text        NOT NULL UNIQUE,
    created_at timestamptz NOT NULL
);
COMMENT ON TABLE tenants IS 'Owners of one log each';
COMMENT ON COLUMN tenants.id IS 'Number of the tenant, as tenant_id has it everywhere';
COMMENT ON COLUMN tenants.name IS 'Chosen when it was made; default is there from the start';
COMMENT ON COLUMN tenants.created_at IS 'When it was made';

CREATE TABLE heads (
    tenant_id       integer     NOT NULL PRIMARY KEY,
    first_id        bigint      NOT NULL,
    size            bigint      NOT NULL,
    created_at_last timestamptz NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE heads IS 'Where each log begins and ends; the lock on the row is the turn to append to it';
COMMENT ON COLUMN heads.first_id IS 'The first id that retention has not removed';
COMMENT ON COLUMN heads.size IS 'The last id of the log';
COMMENT ON COLUMN heads.tenant_id IS 'Whose log';
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
COMMENT ON COLUMN events.tenant_id IS 'Whose log';
COMMENT ON COLUMN events.device_id IS 'The device, as the client names it';
COMMENT ON COLUMN events.application_id IS 'The application, as the client names it';
COMMENT ON COLUMN events.connection_type IS 'attempted, authenticated, established, resumed, suspended, terminated, or a name that the deployment added';
COMMENT ON COLUMN events.status IS 'success, failure, denied, timeout, error, or a name that the deployment added';
COMMENT ON COLUMN events.ip_address IS 'The address that the client gave';
COMMENT ON COLUMN events.user_agent IS 'As the client gave it';
COMMENT ON COLUMN events.metadata IS 'All else that the client gave, sensitive values redacted';
-- For people who read the tables past the server. It takes next to nothing to keep.
CREATE INDEX events_timestamp ON events USING brin (timestamp) WITH (pages_per_range = 32, autosummarize = on);

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
    revoked_at   timestamptz,
    device_id      text,
    application_id text,
    on_reject      text,
    handling       text
);
CREATE INDEX tokens_tenant ON tokens (tenant_id, created_at, id);
COMMENT ON TABLE tokens IS 'Who may use the interface. At most 100,000 rows for each tenant';
COMMENT ON COLUMN tokens.secret_hash IS 'SHA-256 of the whole text of the token; the text itself is nowhere';
COMMENT ON COLUMN tokens.scopes IS 'Names with a space between them, as in OAuth 2';
COMMENT ON COLUMN tokens.id IS 'As conn-log token list shows it';
COMMENT ON COLUMN tokens.tenant_id IS 'Whose log it opens';
COMMENT ON COLUMN tokens.name IS 'What it is for';
COMMENT ON COLUMN tokens.rate_events_per_second IS 'Events a second; NULL for the servers default';
COMMENT ON COLUMN tokens.rate_burst_events IS 'Events at once; NULL with the rate';
COMMENT ON COLUMN tokens.created_at IS 'When it was made';
COMMENT ON COLUMN tokens.expires_at IS 'From then on it is refused; NULL for never';
COMMENT ON COLUMN tokens.revoked_at IS 'From then on it is refused; NULL while it is not revoked';
COMMENT ON COLUMN tokens.device_id IS 'The only device that it registers events of; NULL for any';
COMMENT ON COLUMN tokens.application_id IS 'The only application that it registers events of; NULL for any';
COMMENT ON COLUMN tokens.on_reject IS 'keep: its refused events are kept; refuse: they are not; NULL where requests say';
COMMENT ON COLUMN tokens.handling IS 'lenient: an optional field that cannot be taken costs no event; strict: it does; NULL where requests say';

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
COMMENT ON TABLE idempotency_keys IS 'Idempotency keys of requests for events (kind 1) and for objects (kind 3), and event ids (kind 2), within their window';
COMMENT ON COLUMN idempotency_keys.fingerprint IS 'Of the request; for requests only';
COMMENT ON COLUMN idempotency_keys.record_id IS 'The event that an event id names';
COMMENT ON COLUMN idempotency_keys.answer IS 'The answer to a repeat; for requests only';
COMMENT ON COLUMN idempotency_keys.tenant_id IS 'Whose key';
COMMENT ON COLUMN idempotency_keys.kind IS '1 for the key of a request for events, 2 for an event_id, 3 for the key of a request for a rule, a webhook or a silence';
COMMENT ON COLUMN idempotency_keys.key IS 'As the client sent it';
COMMENT ON COLUMN idempotency_keys.created_at IS 'First use; it is forgotten once its window has passed';
-- The cleaner looks for the oldest keys of a kind, again and again. BRIN does not stay narrow where
-- the space of forgotten keys is used anew; a B-tree grows at its end.
CREATE INDEX idempotency_keys_age ON idempotency_keys (kind, created_at);

CREATE TABLE rejects (
    tenant_id    integer     NOT NULL,
    id           bigint      NOT NULL,
    created_at   timestamptz NOT NULL,
    token_id     uuid        NOT NULL,
    codes        text        NOT NULL,
    content_type text        NOT NULL,
    truncated    boolean     NOT NULL,
    problem      text        NOT NULL,
    body         bytea       NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
COMMENT ON TABLE rejects IS 'Events that were refused and kept (on_reject=keep). At most 100,000 rows for each tenant';
COMMENT ON COLUMN rejects.tenant_id IS 'Whose log refused it';
COMMENT ON COLUMN rejects.id IS 'Number of the reject, in the order in which they were kept; it is not used again';
COMMENT ON COLUMN rejects.created_at IS 'When it was refused';
COMMENT ON COLUMN rejects.token_id IS 'The token that sent it';
COMMENT ON COLUMN rejects.codes IS 'The kind of the problem and the codes of its faults, with a space before and after each';
COMMENT ON COLUMN rejects.content_type IS 'Media type of the request that it came in';
COMMENT ON COLUMN rejects.truncated IS 'Whether the body was longer than what is kept of it';
COMMENT ON COLUMN rejects.problem IS 'The problem that the client got, or would have got, as JSON';
COMMENT ON COLUMN rejects.body IS 'As sent, sensitive values redacted; at most 16 KiB';

CREATE TABLE reject_heads (
    tenant_id integer NOT NULL PRIMARY KEY,
    last_id   bigint  NOT NULL,
    kept      bigint  NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE reject_heads IS 'The rejects of each tenant; the lock on the row is the turn to change them';
COMMENT ON COLUMN reject_heads.tenant_id IS 'Whose rejects';
COMMENT ON COLUMN reject_heads.last_id IS 'Number of the last reject';
COMMENT ON COLUMN reject_heads.kept IS 'How many are kept';

CREATE TABLE alert_changes (
    tenant_id integer     NOT NULL,
    change_id bigint      NOT NULL,
    change    text        NOT NULL,
    at        timestamptz NOT NULL,
    alert     jsonb       NOT NULL,
    PRIMARY KEY (tenant_id, change_id)
);
COMMENT ON TABLE alert_changes IS 'The changes of alerts, in commit order: the outbox of notifications. Kept for 30 days';
COMMENT ON COLUMN alert_changes.tenant_id IS 'Whose alert';
COMMENT ON COLUMN alert_changes.change_id IS '1, 2, 3 … for each tenant, in commit order';
COMMENT ON COLUMN alert_changes.change IS 'opened, extended, acknowledged, resolved or withdrawn';
COMMENT ON COLUMN alert_changes.at IS 'When it changed';
COMMENT ON COLUMN alert_changes.alert IS 'The alert''s JSON as it was after the change';

CREATE TABLE webhooks (
    tenant_id           integer     NOT NULL,
    id                  uuid        NOT NULL,
    url                 text        NOT NULL,
    format              text        NOT NULL,
    filter              jsonb       NOT NULL,
    routing_key         text,
    secret              text        NOT NULL,
    secret_before       text,
    secret_before_until timestamptz,
    position            bigint      NOT NULL,
    delivery_last       bigint      NOT NULL,
    disabled_at         timestamptz,
    disabled_reason     text,
    failing_since       timestamptz,
    failed_at           timestamptz,
    created_at          timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
) WITH (fillfactor = 50);
COMMENT ON TABLE webhooks IS 'Receivers of notifications. At most 100 rows for each tenant';
COMMENT ON COLUMN webhooks.tenant_id IS 'Whose alerts it receives';
COMMENT ON COLUMN webhooks.id IS 'As the API shows it';
COMMENT ON COLUMN webhooks.url IS 'The address that is called; it may hold a secret of the receiver';
COMMENT ON COLUMN webhooks.format IS 'standard, slack, alertmanager or pagerduty';
COMMENT ON COLUMN webhooks.filter IS 'Which changes: members change, rule_id, kind and severity, each an array; a member that is absent lets all pass';
COMMENT ON COLUMN webhooks.routing_key IS 'The integration key of PagerDuty; NULL with other formats';
COMMENT ON COLUMN webhooks.secret IS 'The key that signs, as text. Signing needs the key itself, so that no hash is enough';
COMMENT ON COLUMN webhooks.secret_before IS 'The key before it, which signs too until secret_before_until';
COMMENT ON COLUMN webhooks.secret_before_until IS 'End of the time in which both keys sign';
COMMENT ON COLUMN webhooks.position IS 'The last change_id that deliveries were made of';
COMMENT ON COLUMN webhooks.delivery_last IS 'The highest id of its deliveries, removed ones included';
COMMENT ON COLUMN webhooks.disabled_at IS 'When it was disabled; no deliveries are made since. NULL while it is enabled';
COMMENT ON COLUMN webhooks.disabled_reason IS 'request, gone (the receiver answered 410) or failing (for five days)';
COMMENT ON COLUMN webhooks.failing_since IS 'First of the failed attempts since the last success; NULL while the last one succeeded';
COMMENT ON COLUMN webhooks.failed_at IS 'Last failed attempt';
COMMENT ON COLUMN webhooks.created_at IS 'When it was made';

CREATE TABLE deliveries (
    tenant_id       integer     NOT NULL,
    webhook_id      uuid        NOT NULL,
    id              bigint      NOT NULL,
    change_id       bigint,
    change          text        NOT NULL,
    alert_id        text,
    state           text        NOT NULL,
    attempts        integer     NOT NULL,
    tries           integer     NOT NULL,
    next_attempt_at timestamptz,
    claim           uuid,
    claimed_until   timestamptz,
    waiting_since   timestamptz,
    created_at      timestamptz NOT NULL,
    ended_at        timestamptz,
    PRIMARY KEY (tenant_id, webhook_id, id)
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX deliveries_change ON deliveries (tenant_id, webhook_id, change_id);
CREATE INDEX deliveries_alert ON deliveries (tenant_id, webhook_id, alert_id, change_id);
CREATE INDEX deliveries_due ON deliveries (tenant_id, webhook_id, next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX deliveries_waiting ON deliveries (waiting_since) WHERE waiting_since IS NOT NULL;
CREATE INDEX deliveries_age ON deliveries (tenant_id, created_at);
COMMENT ON TABLE deliveries IS 'What each webhook is told: one row for each change, and one for each test. Kept for 30 days, at most 100,000 for each tenant';
COMMENT ON COLUMN deliveries.tenant_id IS 'Whose alert';
COMMENT ON COLUMN deliveries.webhook_id IS 'The receiver';
COMMENT ON COLUMN deliveries.id IS '1, 2, 3 … for each webhook';
COMMENT ON COLUMN deliveries.change_id IS 'The change that it tells; NULL for a test';
COMMENT ON COLUMN deliveries.change IS 'opened, extended, acknowledged, resolved, withdrawn or test';
COMMENT ON COLUMN deliveries.alert_id IS 'The alert: a later change of it waits for this one; NULL for a test';
COMMENT ON COLUMN deliveries.state IS 'pending, delivered, failed, silenced or cancelled';
COMMENT ON COLUMN deliveries.attempts IS 'Attempts made in all';
COMMENT ON COLUMN deliveries.tries IS 'Attempts made since it was last made pending: the place in the schedule';
COMMENT ON COLUMN deliveries.next_attempt_at IS 'When it is next sent; NULL while it waits for an earlier change, and once it has ended. A delivered row with a time is repeated then, for Alertmanager';
COMMENT ON COLUMN deliveries.claim IS 'The attempt under way; NULL if there is none';
COMMENT ON COLUMN deliveries.claimed_until IS 'From then on another process may send it';
COMMENT ON COLUMN deliveries.waiting_since IS 'Since when it is pending; NULL in other states';
COMMENT ON COLUMN deliveries.created_at IS 'When it was made';
COMMENT ON COLUMN deliveries.ended_at IS 'When it left the state pending; NULL while it is pending';

CREATE TABLE delivery_attempts (
    tenant_id   integer          NOT NULL,
    webhook_id  uuid             NOT NULL,
    delivery_id bigint           NOT NULL,
    attempt     integer          NOT NULL,
    at          timestamptz      NOT NULL,
    status      integer,
    error       text,
    duration    double precision NOT NULL,
    answer      text,
    PRIMARY KEY (tenant_id, webhook_id, delivery_id, attempt)
);
COMMENT ON TABLE delivery_attempts IS 'The requests that were made for each delivery';
COMMENT ON COLUMN delivery_attempts.tenant_id IS 'Whose alert';
COMMENT ON COLUMN delivery_attempts.webhook_id IS 'The receiver';
COMMENT ON COLUMN delivery_attempts.delivery_id IS 'The delivery';
COMMENT ON COLUMN delivery_attempts.attempt IS '1, 2, 3 … for each delivery';
COMMENT ON COLUMN delivery_attempts.at IS 'When it began';
COMMENT ON COLUMN delivery_attempts.status IS 'Status of the answer; NULL if there was none';
COMMENT ON COLUMN delivery_attempts.error IS 'Why there was no answer; NULL if there was one';
COMMENT ON COLUMN delivery_attempts.duration IS 'Seconds';
COMMENT ON COLUMN delivery_attempts.answer IS 'Begin of the answer''s body, at most 512 bytes';

CREATE TABLE silences (
    tenant_id  integer     NOT NULL,
    id         uuid        NOT NULL,
    matcher    jsonb       NOT NULL,
    until      timestamptz NOT NULL,
    reason     text        NOT NULL,
    created_by uuid        NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
COMMENT ON TABLE silences IS 'Alerts of which no webhook is told for a time. At most 1,000 rows for each tenant';
COMMENT ON COLUMN silences.tenant_id IS 'Whose alerts';
COMMENT ON COLUMN silences.id IS 'As the API shows it';
COMMENT ON COLUMN silences.matcher IS 'Which alerts: members rule_id, group and severity, each optional; all that are there have to match';
COMMENT ON COLUMN silences.until IS 'End of the silence';
COMMENT ON COLUMN silences.reason IS 'Why, for people';
COMMENT ON COLUMN silences.created_by IS 'The token that made it';
COMMENT ON COLUMN silences.created_at IS 'When it was made';

CREATE TABLE alert_rules (
    tenant_id  integer     NOT NULL,
    rule_id    bigint      NOT NULL,
    version    bigint      NOT NULL,
    is_enabled boolean     NOT NULL,
    after_id   bigint      NOT NULL,
    definition jsonb       NOT NULL,
    started_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, rule_id)
);
COMMENT ON TABLE alert_rules IS 'The rules of each log';
COMMENT ON COLUMN alert_rules.tenant_id IS 'Whose rule';
COMMENT ON COLUMN alert_rules.rule_id IS '1, 2, 3 … for each tenant; never given again';
COMMENT ON COLUMN alert_rules.version IS 'Grows with each change of what the rule finds';
COMMENT ON COLUMN alert_rules.is_enabled IS 'Whether it is evaluated';
COMMENT ON COLUMN alert_rules.after_id IS 'It looks at events with higher ids only';
COMMENT ON COLUMN alert_rules.definition IS 'The rule, as the interface takes it';
COMMENT ON COLUMN alert_rules.started_at IS 'When this version began';
COMMENT ON COLUMN alert_rules.created_at IS 'When the rule was made';
COMMENT ON COLUMN alert_rules.updated_at IS 'When it was changed last';

CREATE TABLE alert_heads (
    tenant_id  integer     NOT NULL PRIMARY KEY,
    revision   bigint      NOT NULL,
    rules      bigint      NOT NULL,
    alerts     bigint      NOT NULL,
    holder     text        NOT NULL,
    held_until timestamptz NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE alert_heads IS 'One row for each log that has had rules: the last numbers given, and which process evaluates';
COMMENT ON COLUMN alert_heads.tenant_id IS 'Whose rules';
COMMENT ON COLUMN alert_heads.revision IS 'Grows with each change of a rule';
COMMENT ON COLUMN alert_heads.rules IS 'Number of the last rule';
COMMENT ON COLUMN alert_heads.alerts IS 'Number of the last alert';
COMMENT ON COLUMN alert_heads.holder IS 'The process that evaluates the rules';
COMMENT ON COLUMN alert_heads.held_until IS 'Until then no other process takes over';

CREATE TABLE alerts (
    tenant_id    integer     NOT NULL,
    alert_id     bigint      NOT NULL,
    rule_id      bigint      NOT NULL,
    rule_version bigint      NOT NULL,
    kind         text        NOT NULL,
    severity     text        NOT NULL,
    state        text        NOT NULL,
    group_hash   bigint      NOT NULL,
    group_json   text        NOT NULL,
    slot         bigint      NOT NULL,
    opened_by    bigint      NOT NULL,
    started_at   timestamptz NOT NULL,
    ended_at     timestamptz NOT NULL,
    detected_at  timestamptz NOT NULL,
    merged_into  bigint,
    body         text        NOT NULL,
    PRIMARY KEY (tenant_id, alert_id)
);
COMMENT ON TABLE alerts IS 'What rules have found';
COMMENT ON COLUMN alerts.tenant_id IS 'Whose alert';
COMMENT ON COLUMN alerts.alert_id IS '1, 2, 3 … for each tenant';
COMMENT ON COLUMN alerts.rule_id IS 'The rule that raised it';
COMMENT ON COLUMN alerts.rule_version IS 'The version of that rule';
COMMENT ON COLUMN alerts.kind IS 'The kind of that rule';
COMMENT ON COLUMN alerts.severity IS 'info, warning or critical';
COMMENT ON COLUMN alerts.state IS 'open, acknowledged, resolved or withdrawn';
COMMENT ON COLUMN alerts.group_hash IS 'A number made of the group';
COMMENT ON COLUMN alerts.group_json IS 'The group: a JSON object with a member for each field';
COMMENT ON COLUMN alerts.slot IS 'The day or the window that it belongs to';
COMMENT ON COLUMN alerts.opened_by IS 'The event that was taken in when it was found';
COMMENT ON COLUMN alerts.started_at IS 'Time of its first event';
COMMENT ON COLUMN alerts.ended_at IS 'Time of its last event so far';
COMMENT ON COLUMN alerts.detected_at IS 'When it was found, on the clock of the log';
COMMENT ON COLUMN alerts.merged_into IS 'The earlier alert that a late event joined it with';
COMMENT ON COLUMN alerts.body IS 'JSON: the name of the rule, the explanation, a note, and what the evaluation goes on with';
-- An event opens one alert of a group at most, however often it is evaluated.
CREATE UNIQUE INDEX alerts_opening ON alerts (tenant_id, rule_id, rule_version, group_hash, opened_by, slot);

-- Derived data. Everything below can be cleared and computed anew (`conn-log rebuild`), the dictionary excepted:
-- other tables refer to its numbers. Names that pages are ordered by compare by bytes, as the program does.

CREATE TABLE positions (
    tenant_id integer  NOT NULL,
    name      text     NOT NULL,
    version   smallint NOT NULL,
    setting   bigint   NOT NULL,
    watermark bigint   NOT NULL,
    anchor    bytea,
    PRIMARY KEY (tenant_id, name)
) WITH (fillfactor = 50);
COMMENT ON TABLE positions IS 'How far each follower of rebuildable data has read. The lock on a row is the lease to write what it derives';
COMMENT ON COLUMN positions.tenant_id IS 'Whose log';
COMMENT ON COLUMN positions.name IS 'Name of the follower, such as presence';
COMMENT ON COLUMN positions.version IS 'Version of what it keeps; a lower one than the program knows is computed anew';
COMMENT ON COLUMN positions.setting IS 'The setting that the data depends on: of sessions the timeout in microseconds, 0 without one';
COMMENT ON COLUMN positions.watermark IS 'The last id taken in; -1 while it clears what it keeps';
COMMENT ON COLUMN positions.anchor IS 'Leaf hash of that event, where log and derived data could be of two logs; not on PostgreSQL';

CREATE TABLE durable_positions (
    tenant_id integer  NOT NULL,
    name      text     NOT NULL,
    version   smallint NOT NULL,
    setting   bigint   NOT NULL,
    watermark bigint   NOT NULL,
    anchor    bytea,
    PRIMARY KEY (tenant_id, name)
) WITH (fillfactor = 50);
COMMENT ON TABLE durable_positions IS 'How far each follower of durable data has read. The lock on a row is the lease to write what it derives';
COMMENT ON COLUMN durable_positions.tenant_id IS 'Whose log';
COMMENT ON COLUMN durable_positions.name IS 'Name of the follower, such as presence';
COMMENT ON COLUMN durable_positions.version IS 'Version of what it keeps; a lower one than the program knows is computed anew';
COMMENT ON COLUMN durable_positions.setting IS 'The setting that the data depends on: of sessions the timeout in microseconds, 0 without one';
COMMENT ON COLUMN durable_positions.watermark IS 'The last id taken in; -1 while it clears what it keeps';
COMMENT ON COLUMN durable_positions.anchor IS 'Leaf hash of that event, where log and derived data could be of two logs; not on PostgreSQL';

-- The index behind the log (docs/decisions/012): sorted runs, each over a span of ids, made after the events.
CREATE TABLE index_runs (
    tenant_id      integer     NOT NULL,
    run            bigint      NOT NULL,
    level          smallint    NOT NULL,
    first_id       bigint      NOT NULL,
    last_id        bigint      NOT NULL,
    created_at_min timestamptz NOT NULL,
    created_at_max timestamptz NOT NULL,
    timestamp_min  timestamptz NOT NULL,
    timestamp_max  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, run)
);
COMMENT ON TABLE index_runs IS 'The runs of the index; those of a log follow each other without a gap. Some dozens of rows a log';
COMMENT ON COLUMN index_runs.tenant_id IS 'Whose log';
COMMENT ON COLUMN index_runs.run IS 'Number of the run; a new one is higher than all that the log has';
COMMENT ON COLUMN index_runs.level IS 'How often its events were merged: 0, 1, 2';
COMMENT ON COLUMN index_runs.first_id IS 'The first event of it';
COMMENT ON COLUMN index_runs.last_id IS 'The last event of it';
COMMENT ON COLUMN index_runs.created_at_min IS 'created_at of its first event: which partitions it is in';
COMMENT ON COLUMN index_runs.created_at_max IS 'created_at of its last event';
COMMENT ON COLUMN index_runs.timestamp_min IS 'Least timestamp of its events';
COMMENT ON COLUMN index_runs.timestamp_max IS 'Greatest timestamp of its events';

-- Blocks stay in the row as they are, two to a page: their bytes are packed already. A merge writes
-- all of its runs anew, so that the table is vacuumed early.
CREATE TABLE index_blocks (
    tenant_id integer NOT NULL,
    run       bigint  NOT NULL,
    first_key bytea   NOT NULL,
    entries   bytea   NOT NULL,
    PRIMARY KEY (tenant_id, run, first_key)
) WITH (toast_tuple_target = 8160, autovacuum_vacuum_scale_factor = 0.05);
COMMENT ON TABLE index_blocks IS 'What the runs hold: sorted keys, and the ids of the events that have them';
COMMENT ON COLUMN index_blocks.tenant_id IS 'Whose log';
COMMENT ON COLUMN index_blocks.run IS 'The run that it is of';
COMMENT ON COLUMN index_blocks.first_key IS 'Its first key and that key''s first id';
COMMENT ON COLUMN index_blocks.entries IS 'Its bytes';

CREATE TABLE dictionary (
    tenant_id integer NOT NULL,
    name      text    NOT NULL,
    number    integer NOT NULL,
    PRIMARY KEY (tenant_id, name),
    UNIQUE (tenant_id, number)
);
COMMENT ON TABLE dictionary IS 'Numbers for the names that derived data repeats: devices, applications, types, statuses, networks';
COMMENT ON COLUMN dictionary.tenant_id IS 'Whose name';
COMMENT ON COLUMN dictionary.name IS 'The name';
COMMENT ON COLUMN dictionary.number IS 'Its number in other tables';

CREATE TABLE devices (
    tenant_id           integer     NOT NULL,
    device_id           text        NOT NULL COLLATE "C",
    number              integer     NOT NULL,
    first_seen          timestamptz NOT NULL,
    last_seen           timestamptz NOT NULL,
    last_event          bigint      NOT NULL,
    last_application_id text        NOT NULL,
    last_status         text        NOT NULL,
    ip_address          inet,
    ip_seen             timestamptz,
    ip_event            bigint,
    events              bigint      NOT NULL,
    failures            bigint      NOT NULL,
    PRIMARY KEY (tenant_id, device_id)
) WITH (fillfactor = 70);
COMMENT ON TABLE devices IS 'Presence of devices. Each …_seen and …_event is the position of the event that the column before it comes from';

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
    session_hash integer,
    start        smallint,
    end_at       timestamptz,
    end_event    bigint,
    end_status   integer,
    end_duration double precision,
    last_at      timestamptz NOT NULL,
    more         bytea,
    length       smallint    NOT NULL,
    is_suspended boolean     NOT NULL,
    PRIMARY KEY (tenant_id, at, event)
);
COMMENT ON TABLE sessions IS 'Sessions. Device, application and status are numbers of names. A row before 1970 keeps what a key''s events say before its first session';
COMMENT ON COLUMN sessions.at IS 'When it started, or ended where no start is known; event is the one that says so';
COMMENT ON COLUMN sessions.end_event IS 'NULL where the next start ended it, 0 where it timed out';
COMMENT ON COLUMN sessions.end_duration IS 'Seconds, as the ending event gives them';
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

CREATE TABLE rollups (
    tenant_id integer     NOT NULL,
    level     smallint    NOT NULL,
    start     timestamptz NOT NULL,
    lead      integer     NOT NULL,
    whole     bytea,
    cells     bytea       NOT NULL,
    PRIMARY KEY (tenant_id, level, start, lead)
) WITH (fillfactor = 80);
COMMENT ON TABLE rollups IS 'Statistics, added up on seven levels';
COMMENT ON COLUMN rollups.lead IS 'The number of the application''s or device''s name, or of the block of devices; 0 for all events';
COMMENT ON COLUMN rollups.whole IS 'Of level 3 the sum of the finer parts, else NULL';
COMMENT ON COLUMN rollups.cells IS 'The finer parts of the row';
COMMENT ON COLUMN devices.tenant_id IS 'Whose device';
COMMENT ON COLUMN devices.device_id IS 'The device';
COMMENT ON COLUMN devices.number IS 'Number of its name in the dictionary';
COMMENT ON COLUMN devices.first_seen IS 'Least timestamp of its events';
COMMENT ON COLUMN devices.last_seen IS 'Greatest timestamp of its events';
COMMENT ON COLUMN devices.last_event IS 'Id of the event at last_seen';
COMMENT ON COLUMN devices.last_application_id IS 'Of the event at last_seen';
COMMENT ON COLUMN devices.last_status IS 'Of the event at last_seen';
COMMENT ON COLUMN devices.ip_address IS 'Of the latest event that has one';
COMMENT ON COLUMN devices.ip_seen IS 'Timestamp of that event';
COMMENT ON COLUMN devices.ip_event IS 'Id of that event';
COMMENT ON COLUMN devices.events IS 'Count of its events';
COMMENT ON COLUMN devices.failures IS 'Those of a status other than success';
COMMENT ON COLUMN applications.tenant_id IS 'Whose application';
COMMENT ON COLUMN applications.application_id IS 'The application';
COMMENT ON COLUMN applications.first_seen IS 'Least timestamp of its events';
COMMENT ON COLUMN applications.last_seen IS 'Greatest timestamp of its events';
COMMENT ON COLUMN applications.devices IS 'Count of devices that it has been used from';
COMMENT ON COLUMN applications.events IS 'Count of its events';
COMMENT ON COLUMN applications.failures IS 'Those of a status other than success';
COMMENT ON COLUMN application_devices.tenant_id IS 'Whose';
COMMENT ON COLUMN application_devices.application IS 'Number of the applications name';
COMMENT ON COLUMN application_devices.device IS 'Number of the devices name';
COMMENT ON COLUMN sessions.tenant_id IS 'Whose session';
COMMENT ON COLUMN sessions.event IS 'Id of the event that says at';
COMMENT ON COLUMN sessions.device IS 'Number of the devices name';
COMMENT ON COLUMN sessions.application IS 'Number of the applications name';
COMMENT ON COLUMN sessions.session_id IS 'As the client named it; NULL where its events carry none';
COMMENT ON COLUMN sessions.session_hash IS 'CRC-32 of the session id, as a signed number; its index finds the session';
COMMENT ON COLUMN sessions.start IS 'What it started with: 1 established, 2 resumed; NULL where no start is known';
COMMENT ON COLUMN sessions.end_at IS 'When it ended; NULL while it is open';
COMMENT ON COLUMN sessions.end_status IS 'Number of the ending events status';
COMMENT ON COLUMN sessions.last_at IS 'Of a key''s last session: the latest event of the key; of others: the later of start and end';
COMMENT ON COLUMN sessions.more IS 'Marks of its time that are neither its start nor its end, and gaps between events that are longer than the session timeout, packed';
COMMENT ON COLUMN sessions.length IS 'Class of its length: shorter than 4^length seconds; 32 where it has started and no end is known';
COMMENT ON COLUMN sessions.is_suspended IS 'Whether it is open and suspended';
COMMENT ON COLUMN rollups.tenant_id IS 'Whose events';
COMMENT ON COLUMN rollups.level IS '1 an hour of an application, 2 ten minutes of an application, 3 a day of a device, 4 an hour, 5 a day and a day of an application, 6 an hour of 1,024 devices, 7 a day of 1,024 devices';
COMMENT ON COLUMN rollups.start IS 'When its span of time begins, in UTC';

-- The figures of an hour of an application, as answers have them: apart from the rollups' cells, which
-- are fifty times their size (docs/decisions/009).
CREATE TABLE application_hours (
    tenant_id   integer     NOT NULL,
    start       timestamptz NOT NULL,
    application integer     NOT NULL,
    figures     bytea       NOT NULL,
    PRIMARY KEY (tenant_id, start, application)
) WITH (fillfactor = 80);
COMMENT ON TABLE application_hours IS 'Statistics of whole hours of an application, as they are answered';
COMMENT ON COLUMN application_hours.tenant_id IS 'Whose events';
COMMENT ON COLUMN application_hours.start IS 'When the hour begins, in UTC';
COMMENT ON COLUMN application_hours.application IS 'The number of the application''s name';
COMMENT ON COLUMN application_hours.figures IS 'Counts, means and percentiles, packed';
