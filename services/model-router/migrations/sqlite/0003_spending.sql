-- What was spent of each budget in the newest period, in millionths of a US dollar. An empty session: the tenant's.
-- The period of a budget that never begins anew began at 0.
CREATE TABLE spending (
    budget           TEXT    NOT NULL,
    tenant           TEXT    NOT NULL,
    session_id       TEXT    NOT NULL,
    period_start_ms  INTEGER NOT NULL,
    spent_usd_micros INTEGER NOT NULL CHECK (spent_usd_micros >= 0),
    PRIMARY KEY (budget, tenant, session_id)
) STRICT, WITHOUT ROWID;
