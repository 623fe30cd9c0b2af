-- Several servers on one database, and the repair of rows that the ledger contradicts.

-- +goose Up

-- A duty that one server has at a time, such as following the ledger.
CREATE TABLE IF NOT EXISTS leases (
    name       VARCHAR(64) NOT NULL PRIMARY KEY,
    owner      VARCHAR(128) NOT NULL,
    until_at   BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = ascii COLLATE = ascii_bin;

-- What fsck put right. A row is open while its repair is under way, in that transaction and nowhere else: the triggers
-- below let the record that it names make a move that is no step of its life.
CREATE TABLE IF NOT EXISTS repairs (
    id      BIGINT NOT NULL PRIMARY KEY AUTO_INCREMENT,
    at      BIGINT NOT NULL,
    kind    VARCHAR(32) NOT NULL,
    subject VARCHAR(128) NOT NULL,
    problem TEXT NOT NULL,
    remedy  TEXT NOT NULL,
    open    BIGINT NOT NULL CHECK (open IN (0, 1)),
    INDEX repairs_subject (subject, open)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

DROP TRIGGER IF EXISTS lots_moves;
-- +goose StatementBegin
CREATE TRIGGER lots_moves BEFORE UPDATE ON lots FOR EACH ROW
IF OLD.status <> NEW.status AND CONCAT(OLD.status, '>', NEW.status) NOT IN (
  'PENDING>OWNED', 'PENDING>IN_TRADE', 'PENDING>SPENT', 'PENDING>RETIRED', 'PENDING>ABANDONED',
  'OWNED>IN_TRADE', 'OWNED>SPENT', 'OWNED>RETIRED',
  'IN_TRADE>OWNED', 'IN_TRADE>SPENT',
  'ABANDONED>OWNED', 'ABANDONED>IN_TRADE', 'ABANDONED>SPENT', 'ABANDONED>RETIRED')
  AND NOT EXISTS (SELECT 1 FROM repairs WHERE subject = OLD.hash AND open = 1)
THEN
  SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'lot may not make this move';
END IF;
-- +goose StatementEnd

DROP TRIGGER IF EXISTS trades_moves;
-- +goose StatementBegin
CREATE TRIGGER trades_moves BEFORE UPDATE ON trades FOR EACH ROW
IF OLD.state <> NEW.state AND CONCAT(OLD.state, '>', NEW.state) NOT IN (
  'offering>offered', 'offering>failed', 'offering>confirmed', 'offering>declined', 'offering>cancelled', 'offering>released',
  'offered>confirming', 'offered>declining', 'offered>cancelling', 'offered>releasing', 'offered>confirmed', 'offered>declined', 'offered>cancelled', 'offered>released',
  'confirming>offered', 'confirming>confirmed', 'confirming>declined', 'confirming>cancelled', 'confirming>released',
  'declining>offered', 'declining>confirmed', 'declining>declined', 'declining>cancelled', 'declining>released',
  'cancelling>offered', 'cancelling>confirmed', 'cancelling>declined', 'cancelling>cancelled', 'cancelling>released',
  'releasing>offered', 'releasing>confirmed', 'releasing>declined', 'releasing>cancelled', 'releasing>released',
  'failed>offered', 'failed>confirmed', 'failed>declined', 'failed>cancelled', 'failed>released')
  AND NOT EXISTS (SELECT 1 FROM repairs WHERE subject = OLD.id AND open = 1)
THEN
  SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'trade may not make this move';
END IF;
-- +goose StatementEnd

DROP TRIGGER IF EXISTS acts_moves;
-- +goose StatementBegin
CREATE TRIGGER acts_moves BEFORE UPDATE ON acts FOR EACH ROW
IF OLD.state <> NEW.state AND CONCAT(OLD.state, '>', NEW.state) NOT IN (
  'accepted>signed', 'accepted>failed', 'accepted>committed',
  'signed>prepared', 'signed>failed', 'signed>committed',
  'prepared>submitted', 'prepared>signed', 'prepared>accepted', 'prepared>failed', 'prepared>committed',
  'submitted>prepared', 'submitted>accepted', 'submitted>committed', 'submitted>failed',
  'failed>committed')
  AND NOT EXISTS (SELECT 1 FROM repairs WHERE subject = OLD.id AND open = 1)
THEN
  SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'act may not make this move';
END IF;
-- +goose StatementEnd
