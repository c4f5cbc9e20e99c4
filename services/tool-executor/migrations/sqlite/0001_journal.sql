-- The journal: every tool call that was recorded, and what became of it. `record` is the execution as
-- JSON; the columns beside it are what is asked for, written by the same statement.
CREATE TABLE executions (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  execution_id TEXT NOT NULL UNIQUE,
  tenant TEXT NOT NULL,
  principal TEXT NOT NULL,
  session_id TEXT NOT NULL,
  state TEXT NOT NULL,
  approval_id TEXT,
  undo_of TEXT REFERENCES executions (execution_id),
  plan_digest TEXT,
  revision INTEGER NOT NULL,
  create_time_ms INTEGER NOT NULL,
  update_time_ms INTEGER NOT NULL,
  record TEXT NOT NULL
) STRICT;
-- Revisions of a tenant rise and never repeat.
CREATE UNIQUE INDEX executions_revision ON executions (tenant, revision);
-- What waits, and what was running when the process died.
CREATE INDEX executions_state ON executions (state);
CREATE INDEX executions_undo ON executions (undo_of) WHERE undo_of IS NOT NULL;
CREATE INDEX executions_listing ON executions (tenant, seq);

-- A grant is used once: the row is written in the transaction of the intent.
CREATE TABLE grants_used (
  approval_id TEXT PRIMARY KEY,
  execution_id TEXT NOT NULL REFERENCES executions (execution_id),
  use_time_ms INTEGER NOT NULL
) STRICT;

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

CREATE TABLE outbox (seq INTEGER PRIMARY KEY AUTOINCREMENT, event BLOB NOT NULL) STRICT;
