-- The life of custodial keys: what the ledger has still to be told, the keys that wait to replace others, and what the
-- ledger has said of a key.

-- +goose Up
-- MySQL has no CREATE INDEX IF NOT EXISTS.
SET @make = IF((SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = 'custody_keys' AND index_name = 'custody_keys_state') = 0,
    'CREATE INDEX custody_keys_state ON custody_keys (state, created_at, id)', 'DO 0');
PREPARE make FROM @make;
EXECUTE make;
DEALLOCATE PREPARE make;
SET @make = IF((SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = 'custody_keys' AND index_name = 'custody_keys_age') = 0,
    'CREATE INDEX custody_keys_age ON custody_keys (created_at, id)', 'DO 0');
PREPARE make FROM @make;
EXECUTE make;
DEALLOCATE PREPARE make;

-- What custody wants of the ledger and does not see there yet; a row goes when the ledger has followed.
CREATE TABLE IF NOT EXISTS custody_wishes (
    key_id     VARCHAR(64) NOT NULL,
    matter     VARCHAR(16) NOT NULL,
    wish       VARCHAR(16) NOT NULL,
    id         VARCHAR(64) NOT NULL,
    actor      VARCHAR(128) NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (key_id, matter),
    UNIQUE INDEX custody_wishes_id (id),
    CHECK ((matter = 'standing' AND wish IN ('suspend', 'resume', 'revoke')) OR (matter = 'successor' AND wish = 'replace')),
    FOREIGN KEY (key_id) REFERENCES custody_keys (id)
) ENGINE = InnoDB DEFAULT CHARSET = ascii COLLATE = ascii_bin;

-- Keys that are made and sign nothing yet: each becomes a row of custody_keys when the ledger has it.
CREATE TABLE IF NOT EXISTS custody_successors (
    id          VARCHAR(64) NOT NULL PRIMARY KEY,
    owner       VARCHAR(64) NOT NULL,
    role        VARCHAR(32) NOT NULL,
    slot        VARCHAR(32) NOT NULL,
    version     BIGINT NOT NULL CHECK (version > 1),
    kind        VARCHAR(32) NOT NULL,
    functions   TEXT NOT NULL,
    public      LONGBLOB NOT NULL,
    possession  LONGBLOB NOT NULL,
    kek_version BIGINT NOT NULL,
    wrapped     LONGBLOB NOT NULL,
    created_at  BIGINT NOT NULL,
    UNIQUE INDEX custody_successors_slot (owner, slot),
    INDEX custody_successors_kek (kek_version),
    FOREIGN KEY (kek_version) REFERENCES custody_keks (version)
) ENGINE = InnoDB DEFAULT CHARSET = ascii COLLATE = ascii_bin;

-- The newest that the ledger has said of a key that has moved there. A key without a row stands as it was registered.
CREATE TABLE IF NOT EXISTS custody_ledger_keys (
    key_id  VARCHAR(64) NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL,
    status  VARCHAR(16) NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = ascii COLLATE = ascii_bin;

-- A key is destroyed exactly when its envelope is empty; only what was revoked is destroyed.
DROP TRIGGER IF EXISTS custody_keys_moves;
-- +goose StatementBegin
CREATE TRIGGER custody_keys_moves BEFORE UPDATE ON custody_keys FOR EACH ROW
BEGIN
    IF NEW.id <> OLD.id OR NEW.owner <> OLD.owner OR NEW.role <> OLD.role OR NEW.slot <> OLD.slot OR NEW.version <> OLD.version
        OR NEW.kind <> OLD.kind OR NEW.functions <> OLD.functions OR NEW.public <> OLD.public OR NEW.possession <> OLD.possession
        OR NEW.created_at <> OLD.created_at
        OR (NEW.state <> OLD.state AND CONCAT(OLD.state, '>', NEW.state) NOT IN ('active>suspended', 'active>rotated', 'active>revoked', 'suspended>active', 'suspended>rotated', 'suspended>revoked', 'rotated>revoked', 'revoked>destroyed'))
        OR ((NEW.state = 'destroyed') <> (LENGTH(NEW.wrapped) = 0))
    THEN
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'custody_keys: this change is not allowed';
    END IF;
END;
-- +goose StatementEnd
