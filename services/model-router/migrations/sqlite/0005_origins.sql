-- Whose the rows of this store are: an id that no other store has, and how many routers have written any of them.
CREATE TABLE ledger (
    one   INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    id    TEXT    NOT NULL,
    terms INTEGER NOT NULL CHECK (terms >= 0)
) STRICT;
INSERT INTO ledger (one, id, terms) VALUES (1, lower(hex(randomblob(16))), 0);

-- As before, and of which store each row is: its own, to which its router adds, and copies of those of routers that are
-- gone.
ALTER TABLE spending RENAME TO spending_of_one;
CREATE TABLE spending (
    budget           TEXT    NOT NULL,
    tenant           TEXT    NOT NULL,
    session_id       TEXT    NOT NULL,
    origin           TEXT    NOT NULL,
    period_start_ms  INTEGER NOT NULL,
    spent_usd_micros INTEGER NOT NULL CHECK (spent_usd_micros >= 0),
    exhausted_told   INTEGER NOT NULL CHECK (exhausted_told IN (0, 1)),
    PRIMARY KEY (budget, tenant, session_id, origin)
) STRICT, WITHOUT ROWID;
INSERT INTO spending (budget, tenant, session_id, origin, period_start_ms, spent_usd_micros, exhausted_told)
    SELECT budget, tenant, session_id, ledger.id, period_start_ms, spent_usd_micros, exhausted_told
    FROM spending_of_one, ledger;
DROP TABLE spending_of_one;
