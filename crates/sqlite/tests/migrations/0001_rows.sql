CREATE TABLE rows (name TEXT PRIMARY KEY) STRICT;
CREATE TABLE requests (
    tenant TEXT NOT NULL,
    principal TEXT NOT NULL,
    method TEXT NOT NULL,
    request_id TEXT NOT NULL,
    payload_digest TEXT NOT NULL,
    subject_id TEXT NOT NULL,
    create_time_ms INTEGER NOT NULL,
    PRIMARY KEY (tenant, principal, method, request_id)
) STRICT;
