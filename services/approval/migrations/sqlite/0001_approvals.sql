-- Approvals as they are now. What was asked never changes; what became of it changes once.
CREATE TABLE approvals (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,      -- order of creation, the cursor of lists
  approval_id TEXT NOT NULL UNIQUE,
  tenant TEXT NOT NULL,
  revision INTEGER NOT NULL,                  -- of the tenant, see `revisions`
  requested_by TEXT NOT NULL,                 -- JSON principal
  on_behalf_of TEXT NOT NULL,                 -- JSON principal, always written the same way
  plan_json TEXT NOT NULL,
  plan_digest TEXT NOT NULL,
  tool TEXT NOT NULL,
  requirements TEXT NOT NULL,                 -- JSON list, sorted by role
  session_id TEXT NOT NULL,
  traceparent TEXT NOT NULL,
  create_time_ms INTEGER NOT NULL,
  expire_time_ms INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'expired')),
  settle_time_ms INTEGER,
  decision_traceparent TEXT NOT NULL DEFAULT '',
  CHECK ((state = 'pending') = (settle_time_ms IS NULL))
) STRICT;
CREATE UNIQUE INDEX approvals_by_revision ON approvals (tenant, revision);
CREATE INDEX approvals_by_creation ON approvals (tenant, seq);
CREATE INDEX approvals_by_state ON approvals (tenant, state, seq);
CREATE INDEX approvals_pending_by_expiry ON approvals (expire_time_ms) WHERE state = 'pending';
CREATE INDEX approvals_pending_by_plan ON approvals (tenant, plan_digest) WHERE state = 'pending';

-- Rows are only ever added: a changed mind is a second row.
CREATE TABLE votes (
  approval_id TEXT NOT NULL REFERENCES approvals (approval_id),
  place INTEGER NOT NULL,                     -- order of voting, from 0
  voter TEXT NOT NULL,                        -- JSON principal
  roles TEXT NOT NULL,                        -- JSON list
  decision TEXT NOT NULL CHECK (decision IN ('approve', 'deny')),
  reason TEXT NOT NULL,
  time_ms INTEGER NOT NULL,
  PRIMARY KEY (approval_id, place),
  UNIQUE (approval_id, voter, decision)
) STRICT;

-- Signed once, in the transaction that approves.
CREATE TABLE grants (
  approval_id TEXT NOT NULL PRIMARY KEY REFERENCES approvals (approval_id),
  payload_json TEXT NOT NULL,
  key_id TEXT NOT NULL,
  signature BLOB NOT NULL
) STRICT;

-- The newest revision of each tenant; it rises with every change to any of its approvals.
CREATE TABLE revisions (tenant TEXT NOT NULL PRIMARY KEY, revision INTEGER NOT NULL) STRICT;

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
CREATE INDEX requests_by_time ON requests (create_time_ms);

CREATE TABLE outbox (seq INTEGER PRIMARY KEY AUTOINCREMENT, event BLOB NOT NULL) STRICT;

-- One row, written now and then to find out whether the store can be written.
CREATE TABLE heartbeat (one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1), time_ms INTEGER NOT NULL) STRICT;
