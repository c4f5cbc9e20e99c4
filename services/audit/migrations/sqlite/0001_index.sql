-- An index over the daily files. It can be deleted at any time: it is rebuilt from them.
CREATE TABLE events (
  sequence INTEGER PRIMARY KEY,
  event_id TEXT NOT NULL UNIQUE,
  tenant TEXT NOT NULL,
  time_s INTEGER NOT NULL,
  time_ns INTEGER NOT NULL,
  kind TEXT NOT NULL,
  principal_name TEXT NOT NULL,
  session_id TEXT NOT NULL,
  tool TEXT NOT NULL,
  outcome TEXT NOT NULL,
  trace_id TEXT NOT NULL,
  subject_id TEXT NOT NULL,
  day TEXT NOT NULL,
  offset_bytes INTEGER NOT NULL,
  length_bytes INTEGER NOT NULL
) STRICT;
-- Each ends in the rowid, which is the order of every answer.
CREATE INDEX events_by_kind ON events (tenant, kind);
CREATE INDEX events_by_session ON events (tenant, session_id) WHERE session_id <> '';
CREATE INDEX events_by_subject ON events (tenant, subject_id) WHERE subject_id <> '';
CREATE INDEX events_by_trace ON events (tenant, trace_id) WHERE trace_id <> '';
CREATE INDEX events_by_time ON events (tenant, time_s, time_ns);

-- Which tree the index covers; one row. A root that is not the files' own makes the index void.
CREATE TABLE covered (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  tree_size INTEGER NOT NULL,
  root_hash BLOB NOT NULL
) STRICT;
