-- A delivery is not a death. A suspect is opened alone after `opened_at` is set; found set at the next opening,
-- by another process or after a witnessed death, it is one death more. `is_read`: it was parsed and decoded alive.
ALTER TABLE redeliveries
    ADD COLUMN deaths    integer NOT NULL DEFAULT 0,
    ADD COLUMN opened_at timestamptz,
    ADD COLUMN opened_by text,
    ADD COLUMN is_read   boolean NOT NULL DEFAULT false;
