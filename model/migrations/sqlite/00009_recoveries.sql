-- Recoveries after a theft: how far each is.

-- +goose Up
CREATE TABLE recoveries (
    id          TEXT NOT NULL PRIMARY KEY,
    participant TEXT NOT NULL,
    live        TEXT,
    state       TEXT NOT NULL CHECK (state IN ('stopping', 'replacing', 'waiting', 'releasing', 'done')),
    key_id      TEXT NOT NULL,
    new_key_id  TEXT,
    freezes     INTEGER NOT NULL CHECK (freezes IN (0, 1)),
    actor       TEXT NOT NULL,
    releaser    TEXT,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX recoveries_live ON recoveries (live);
CREATE INDEX recoveries_participant ON recoveries (participant, created_at, id);

-- +goose StatementBegin
CREATE TRIGGER recoveries_moves BEFORE UPDATE OF state ON recoveries
WHEN OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN (
  'stopping>replacing', 'replacing>waiting', 'replacing>done', 'waiting>releasing', 'releasing>done')
BEGIN
  SELECT RAISE(ABORT, 'recovery may not make this move');
END;
-- +goose StatementEnd
