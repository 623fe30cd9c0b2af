-- Several servers on one database, and the repair of rows that the ledger contradicts.

-- +goose Up

-- A duty that one server has at a time, such as following the ledger.
CREATE TABLE leases (
    name       TEXT NOT NULL PRIMARY KEY,
    owner      TEXT NOT NULL,
    until_at   INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- What fsck put right. A row is open while its repair is under way, in that transaction and nowhere else: the triggers
-- below let the record that it names make a move that is no step of its life.
CREATE TABLE repairs (
    id      INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    kind    TEXT NOT NULL,
    subject TEXT NOT NULL,
    problem TEXT NOT NULL,
    remedy  TEXT NOT NULL,
    open    INTEGER NOT NULL CHECK (open IN (0, 1))
) STRICT;
CREATE INDEX repairs_subject ON repairs (subject, open);

DROP TRIGGER lots_moves;
-- +goose StatementBegin
CREATE TRIGGER lots_moves BEFORE UPDATE OF status ON lots
WHEN OLD.status <> NEW.status AND OLD.status || '>' || NEW.status NOT IN (
  'PENDING>OWNED', 'PENDING>IN_TRADE', 'PENDING>SPENT', 'PENDING>RETIRED', 'PENDING>ABANDONED',
  'OWNED>IN_TRADE', 'OWNED>SPENT', 'OWNED>RETIRED',
  'IN_TRADE>OWNED', 'IN_TRADE>SPENT',
  'ABANDONED>OWNED', 'ABANDONED>IN_TRADE', 'ABANDONED>SPENT', 'ABANDONED>RETIRED')
  AND NOT EXISTS (SELECT 1 FROM repairs WHERE subject = OLD.hash AND open = 1)
BEGIN
  SELECT RAISE(ABORT, 'lot may not make this move');
END;
-- +goose StatementEnd

DROP TRIGGER trades_moves;
-- +goose StatementBegin
CREATE TRIGGER trades_moves BEFORE UPDATE OF state ON trades
WHEN OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN (
  'offering>offered', 'offering>failed', 'offering>confirmed', 'offering>declined', 'offering>cancelled', 'offering>released',
  'offered>confirming', 'offered>declining', 'offered>cancelling', 'offered>releasing', 'offered>confirmed', 'offered>declined', 'offered>cancelled', 'offered>released',
  'confirming>offered', 'confirming>confirmed', 'confirming>declined', 'confirming>cancelled', 'confirming>released',
  'declining>offered', 'declining>confirmed', 'declining>declined', 'declining>cancelled', 'declining>released',
  'cancelling>offered', 'cancelling>confirmed', 'cancelling>declined', 'cancelling>cancelled', 'cancelling>released',
  'releasing>offered', 'releasing>confirmed', 'releasing>declined', 'releasing>cancelled', 'releasing>released',
  'failed>offered', 'failed>confirmed', 'failed>declined', 'failed>cancelled', 'failed>released')
  AND NOT EXISTS (SELECT 1 FROM repairs WHERE subject = OLD.id AND open = 1)
BEGIN
  SELECT RAISE(ABORT, 'trade may not make this move');
END;
-- +goose StatementEnd

DROP TRIGGER acts_moves;
-- +goose StatementBegin
CREATE TRIGGER acts_moves BEFORE UPDATE OF state ON acts
WHEN OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN (
  'accepted>signed', 'accepted>failed', 'accepted>committed',
  'signed>prepared', 'signed>failed', 'signed>committed',
  'prepared>submitted', 'prepared>signed', 'prepared>accepted', 'prepared>failed', 'prepared>committed',
  'submitted>prepared', 'submitted>accepted', 'submitted>committed', 'submitted>failed',
  'failed>committed')
  AND NOT EXISTS (SELECT 1 FROM repairs WHERE subject = OLD.id AND open = 1)
BEGIN
  SELECT RAISE(ABORT, 'act may not make this move');
END;
-- +goose StatementEnd
