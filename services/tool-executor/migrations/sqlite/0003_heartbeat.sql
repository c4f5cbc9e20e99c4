-- One row, written over and over to learn whether the journal can be written.
CREATE TABLE heartbeat (one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1), time_ms INTEGER NOT NULL) STRICT;
