-- Whether somebody was told in the period of a row that the budget is used up.
ALTER TABLE spending ADD COLUMN exhausted_told INTEGER NOT NULL DEFAULT 0 CHECK (exhausted_told IN (0, 1));
