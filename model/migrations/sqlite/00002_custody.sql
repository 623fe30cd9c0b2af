-- The custody: sealed keys, the sign log, the audit chain. Nothing here is ever deleted.

-- +goose Up
CREATE TABLE custody_keks (
    version    INTEGER NOT NULL PRIMARY KEY CHECK (version > 0),
    root_id    TEXT NOT NULL,
    wrapped    BLOB NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE custody_keys (
    id          TEXT NOT NULL PRIMARY KEY,
    owner       TEXT NOT NULL,
    role        TEXT NOT NULL,
    slot        TEXT NOT NULL,
    version     INTEGER NOT NULL CHECK (version > 0),
    kind        TEXT NOT NULL,
    functions   TEXT NOT NULL,
    public      BLOB NOT NULL,
    possession  BLOB NOT NULL,
    kek_version INTEGER NOT NULL REFERENCES custody_keks (version),
    wrapped     BLOB NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('active', 'suspended', 'rotated', 'revoked', 'destroyed')),
    live_slot   TEXT NULL,
    created_at  INTEGER NOT NULL,
    CHECK ((state IN ('active', 'suspended') AND live_slot IS NOT NULL AND live_slot = slot)
        OR (state NOT IN ('active', 'suspended') AND live_slot IS NULL))
) STRICT;
CREATE UNIQUE INDEX custody_keys_live ON custody_keys (owner, live_slot);
CREATE INDEX custody_keys_kek ON custody_keys (kek_version);
CREATE UNIQUE INDEX custody_keys_version ON custody_keys (owner, slot, version);

CREATE TABLE custody_signatures (
    id         INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    owner      TEXT NOT NULL,
    purpose    TEXT NOT NULL,
    subject    TEXT NOT NULL,
    attempt    INTEGER NOT NULL CHECK (attempt > 0),
    key_id     TEXT NOT NULL REFERENCES custody_keys (id),
    digest     TEXT NOT NULL,
    request_id TEXT NOT NULL,
    not_after  INTEGER NOT NULL,
    signature  BLOB NULL,
    actor      TEXT NOT NULL,
    closed     TEXT NOT NULL CHECK (closed IN ('', 'never_broadcast', 'definitely_invalid')),
    created_at INTEGER NOT NULL,
    signed_at  INTEGER NOT NULL,
    closed_at  INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX custody_signatures_attempt ON custody_signatures (owner, purpose, subject, attempt);
CREATE INDEX custody_signatures_key ON custody_signatures (key_id);
CREATE INDEX custody_signatures_request ON custody_signatures (request_id);

CREATE TABLE custody_audit (
    seq       INTEGER NOT NULL PRIMARY KEY CHECK (seq > 0),
    at        INTEGER NOT NULL,
    actor     TEXT NOT NULL,
    act       TEXT NOT NULL,
    subject   TEXT NOT NULL,
    detail    TEXT NOT NULL,
    prev_hash TEXT NOT NULL,
    hash      TEXT NOT NULL
) STRICT;
CREATE INDEX custody_audit_subject ON custody_audit (subject);

CREATE TABLE custody_audit_head (
    id          INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    seq         INTEGER NOT NULL,
    hash        TEXT NOT NULL,
    kek_version INTEGER NOT NULL,
    seal        BLOB NOT NULL
) STRICT;

-- What a key is and whose never changes. Its envelope may: it is sealed again under a newer key-encryption key, and
-- emptied when the key is destroyed.
-- +goose StatementBegin
CREATE TRIGGER custody_keys_moves BEFORE UPDATE ON custody_keys
WHEN NEW.id <> OLD.id OR NEW.owner <> OLD.owner OR NEW.role <> OLD.role OR NEW.slot <> OLD.slot OR NEW.version <> OLD.version
  OR NEW.kind <> OLD.kind OR NEW.functions <> OLD.functions OR NEW.public <> OLD.public OR NEW.possession <> OLD.possession
  OR NEW.created_at <> OLD.created_at
  OR (NEW.state <> OLD.state AND OLD.state || '>' || NEW.state NOT IN ('active>suspended', 'active>rotated', 'active>revoked', 'suspended>active', 'suspended>revoked', 'rotated>revoked', 'rotated>destroyed', 'revoked>destroyed'))
BEGIN
    SELECT RAISE(ABORT, 'custody_keys: this change is not allowed');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER custody_signatures_moves BEFORE UPDATE ON custody_signatures
WHEN NEW.id <> OLD.id OR NEW.owner <> OLD.owner OR NEW.purpose <> OLD.purpose OR NEW.subject <> OLD.subject OR NEW.attempt <> OLD.attempt
  OR NEW.key_id <> OLD.key_id OR NEW.digest <> OLD.digest OR NEW.request_id <> OLD.request_id OR NEW.not_after <> OLD.not_after
  OR NEW.actor <> OLD.actor OR NEW.created_at <> OLD.created_at
  OR (OLD.signature IS NOT NULL AND NEW.signature IS NOT OLD.signature)
  OR (OLD.closed <> '' AND (NEW.closed <> OLD.closed OR NEW.signature IS NOT OLD.signature))
BEGIN
    SELECT RAISE(ABORT, 'custody_signatures: this change is not allowed');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER custody_audit_update BEFORE UPDATE ON custody_audit
BEGIN
    SELECT RAISE(ABORT, 'custody_audit: rows are for ever');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER custody_audit_head_moves BEFORE UPDATE ON custody_audit_head
WHEN NEW.seq <> OLD.seq + 1
BEGIN
    SELECT RAISE(ABORT, 'custody_audit_head: one row at a time');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER custody_keks_delete BEFORE DELETE ON custody_keks
BEGIN
    SELECT RAISE(ABORT, 'custody_keks: rows are not deleted');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER custody_keys_delete BEFORE DELETE ON custody_keys
BEGIN
    SELECT RAISE(ABORT, 'custody_keys: rows are not deleted');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER custody_signatures_delete BEFORE DELETE ON custody_signatures
BEGIN
    SELECT RAISE(ABORT, 'custody_signatures: rows are not deleted');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER custody_audit_delete BEFORE DELETE ON custody_audit
BEGIN
    SELECT RAISE(ABORT, 'custody_audit: rows are not deleted');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER custody_audit_head_delete BEFORE DELETE ON custody_audit_head
BEGIN
    SELECT RAISE(ABORT, 'custody_audit_head: rows are not deleted');
END;
-- +goose StatementEnd
