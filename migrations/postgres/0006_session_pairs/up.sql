-- Sessions without a session id: a mark of a device and application looks for its neighbours in time.
CREATE INDEX sessions_pair ON sessions (tenant_id, device, application, at) WHERE session_id IS NULL;
