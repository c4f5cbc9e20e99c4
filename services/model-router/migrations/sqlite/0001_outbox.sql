-- Events of model calls on their way to the audit service. The router keeps nothing else on disk.
CREATE TABLE outbox (
    seq   INTEGER PRIMARY KEY AUTOINCREMENT,
    event BLOB NOT NULL
) STRICT;
