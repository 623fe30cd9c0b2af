-- Root keys that people bring in shares or a token keeps, a custody that is sealed, and keys sealed anew.

-- +goose Up

-- What is known of a root key; not the key.
CREATE TABLE custody_roots (
    id         TEXT NOT NULL PRIMARY KEY,
    kind       TEXT NOT NULL CHECK (kind IN ('file', 'shamir', 'pkcs11')),
    threshold  INTEGER NOT NULL,
    shares     INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    retired_at INTEGER NOT NULL,
    CHECK (threshold >= 0 AND threshold <= shares)
) STRICT;

-- Audit rows that wait: while custody is sealed nothing is at hand to seal the audit's head with. Whoever opens it
-- appends them first.
CREATE TABLE custody_waiting (
    id      INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    actor   TEXT NOT NULL,
    act     TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail  TEXT NOT NULL
) STRICT;

-- When signing was stopped by hand, on all servers; 0: it was not.
ALTER TABLE custody_audit_head ADD COLUMN stopped_at INTEGER NOT NULL DEFAULT 0;

-- Keys are walked by the key-encryption key that they are under.
CREATE INDEX custody_keys_under ON custody_keys (kek_version, id);
DROP INDEX custody_keys_kek;

-- A key-encryption key stays what it is under every root: only how it is sealed changes.
-- +goose StatementBegin
CREATE TRIGGER custody_keks_moves BEFORE UPDATE ON custody_keks
WHEN NEW.version <> OLD.version OR NEW.created_at <> OLD.created_at
BEGIN
    SELECT RAISE(ABORT, 'custody_keks: this change is not allowed');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER custody_roots_moves BEFORE UPDATE ON custody_roots
WHEN NEW.id <> OLD.id OR NEW.kind <> OLD.kind OR NEW.threshold <> OLD.threshold OR NEW.shares <> OLD.shares
  OR NEW.created_at <> OLD.created_at
BEGIN
    SELECT RAISE(ABORT, 'custody_roots: this change is not allowed');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER custody_roots_delete BEFORE DELETE ON custody_roots
BEGIN
    SELECT RAISE(ABORT, 'custody_roots: rows are not deleted');
END;
-- +goose StatementEnd
