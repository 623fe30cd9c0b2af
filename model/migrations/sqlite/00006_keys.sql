-- The life of custodial keys: what the ledger has still to be told, the keys that wait to replace others, and what the
-- ledger has said of a key.

-- +goose Up
CREATE INDEX custody_keys_state ON custody_keys (state, created_at, id);
CREATE INDEX custody_keys_age ON custody_keys (created_at, id);

-- What custody wants of the ledger and does not see there yet; a row goes when the ledger has followed.
CREATE TABLE custody_wishes (
    key_id     TEXT NOT NULL REFERENCES custody_keys (id),
    matter     TEXT NOT NULL CHECK (matter IN ('standing', 'successor')),
    wish       TEXT NOT NULL,
    id         TEXT NOT NULL,
    actor      TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (key_id, matter),
    CHECK ((matter = 'standing' AND wish IN ('suspend', 'resume', 'revoke')) OR (matter = 'successor' AND wish = 'replace'))
) STRICT;
CREATE UNIQUE INDEX custody_wishes_id ON custody_wishes (id);

-- Keys that are made and sign nothing yet: each becomes a row of custody_keys when the ledger has it.
CREATE TABLE custody_successors (
    id          TEXT NOT NULL PRIMARY KEY,
    owner       TEXT NOT NULL,
    role        TEXT NOT NULL,
    slot        TEXT NOT NULL,
    version     INTEGER NOT NULL CHECK (version > 1),
    kind        TEXT NOT NULL,
    functions   TEXT NOT NULL,
    public      BLOB NOT NULL,
    possession  BLOB NOT NULL,
    kek_version INTEGER NOT NULL REFERENCES custody_keks (version),
    wrapped     BLOB NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX custody_successors_slot ON custody_successors (owner, slot);
CREATE INDEX custody_successors_kek ON custody_successors (kek_version);

-- The newest that the ledger has said of a key that has moved there. A key without a row stands as it was registered.
CREATE TABLE custody_ledger_keys (
    key_id  TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    status  TEXT NOT NULL
) STRICT;

-- A key is destroyed exactly when its envelope is empty; only what was revoked is destroyed.
DROP TRIGGER custody_keys_moves;
-- +goose StatementBegin
CREATE TRIGGER custody_keys_moves BEFORE UPDATE ON custody_keys
WHEN NEW.id <> OLD.id OR NEW.owner <> OLD.owner OR NEW.role <> OLD.role OR NEW.slot <> OLD.slot OR NEW.version <> OLD.version
  OR NEW.kind <> OLD.kind OR NEW.functions <> OLD.functions OR NEW.public <> OLD.public OR NEW.possession <> OLD.possession
  OR NEW.created_at <> OLD.created_at
  OR (NEW.state <> OLD.state AND OLD.state || '>' || NEW.state NOT IN ('active>suspended', 'active>rotated', 'active>revoked', 'suspended>active', 'suspended>rotated', 'suspended>revoked', 'rotated>revoked', 'revoked>destroyed'))
  OR ((NEW.state = 'destroyed') <> (length(NEW.wrapped) = 0))
BEGIN
    SELECT RAISE(ABORT, 'custody_keys: this change is not allowed');
END;
-- +goose StatementEnd
