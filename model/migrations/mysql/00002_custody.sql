-- The custody: sealed keys, the sign log, the audit chain. Nothing here is ever deleted.

-- +goose Up
CREATE TABLE IF NOT EXISTS custody_keks (
    version    BIGINT NOT NULL PRIMARY KEY CHECK (version > 0),
    root_id    VARCHAR(64) NOT NULL,
    wrapped    LONGBLOB NOT NULL,
    created_at BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = ascii COLLATE = ascii_bin;

CREATE TABLE IF NOT EXISTS custody_keys (
    id          VARCHAR(64) NOT NULL PRIMARY KEY,
    owner       VARCHAR(64) NOT NULL,
    role        VARCHAR(32) NOT NULL,
    slot        VARCHAR(32) NOT NULL,
    version     BIGINT NOT NULL CHECK (version > 0),
    kind        VARCHAR(32) NOT NULL,
    functions   TEXT NOT NULL,
    public      LONGBLOB NOT NULL,
    possession  LONGBLOB NOT NULL,
    kek_version BIGINT NOT NULL,
    wrapped     LONGBLOB NOT NULL,
    state       VARCHAR(16) NOT NULL CHECK (state IN ('active', 'suspended', 'rotated', 'revoked', 'destroyed')),
    live_slot   VARCHAR(32) NULL,
    created_at  BIGINT NOT NULL,
    CHECK ((state IN ('active', 'suspended') AND live_slot IS NOT NULL AND live_slot = slot)
        OR (state NOT IN ('active', 'suspended') AND live_slot IS NULL)),
    UNIQUE INDEX custody_keys_live (owner, live_slot),
    INDEX custody_keys_kek (kek_version),
    UNIQUE INDEX custody_keys_version (owner, slot, version),
    FOREIGN KEY (kek_version) REFERENCES custody_keks (version)
) ENGINE = InnoDB DEFAULT CHARSET = ascii COLLATE = ascii_bin;

CREATE TABLE IF NOT EXISTS custody_signatures (
    id         BIGINT NOT NULL PRIMARY KEY AUTO_INCREMENT,
    owner      VARCHAR(64) NOT NULL,
    purpose    VARCHAR(64) NOT NULL,
    subject    VARCHAR(128) NOT NULL,
    attempt    BIGINT NOT NULL CHECK (attempt > 0),
    key_id     VARCHAR(64) NOT NULL,
    digest     VARCHAR(64) NOT NULL,
    request_id VARCHAR(64) NOT NULL,
    not_after  BIGINT NOT NULL,
    signature  LONGBLOB NULL,
    actor      VARCHAR(128) NOT NULL,
    closed     VARCHAR(32) NOT NULL CHECK (closed IN ('', 'never_broadcast', 'definitely_invalid')),
    created_at BIGINT NOT NULL,
    signed_at  BIGINT NOT NULL,
    closed_at  BIGINT NOT NULL,
    UNIQUE INDEX custody_signatures_attempt (owner, purpose, subject, attempt),
    INDEX custody_signatures_key (key_id),
    INDEX custody_signatures_request (request_id),
    FOREIGN KEY (key_id) REFERENCES custody_keys (id)
) ENGINE = InnoDB DEFAULT CHARSET = ascii COLLATE = ascii_bin;

CREATE TABLE IF NOT EXISTS custody_audit (
    seq       BIGINT NOT NULL PRIMARY KEY CHECK (seq > 0),
    at        BIGINT NOT NULL,
    actor     VARCHAR(128) NOT NULL,
    act       VARCHAR(64) NOT NULL,
    subject   VARCHAR(128) NOT NULL,
    detail    TEXT NOT NULL,
    prev_hash VARCHAR(64) NOT NULL,
    hash      VARCHAR(64) NOT NULL,
    INDEX custody_audit_subject (subject)
) ENGINE = InnoDB DEFAULT CHARSET = ascii COLLATE = ascii_bin;

CREATE TABLE IF NOT EXISTS custody_audit_head (
    id          BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    seq         BIGINT NOT NULL,
    hash        VARCHAR(64) NOT NULL,
    kek_version BIGINT NOT NULL,
    seal        LONGBLOB NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = ascii COLLATE = ascii_bin;

-- What a key is and whose never changes. Its envelope may: it is sealed again under a newer key-encryption key, and
-- emptied when the key is destroyed.
DROP TRIGGER IF EXISTS custody_keys_moves;
-- +goose StatementBegin
CREATE TRIGGER custody_keys_moves BEFORE UPDATE ON custody_keys FOR EACH ROW
BEGIN
    IF NEW.id <> OLD.id OR NEW.owner <> OLD.owner OR NEW.role <> OLD.role OR NEW.slot <> OLD.slot OR NEW.version <> OLD.version
        OR NEW.kind <> OLD.kind OR NEW.functions <> OLD.functions OR NEW.public <> OLD.public OR NEW.possession <> OLD.possession
        OR NEW.created_at <> OLD.created_at
        OR (NEW.state <> OLD.state AND CONCAT(OLD.state, '>', NEW.state) NOT IN ('active>suspended', 'active>rotated', 'active>revoked', 'suspended>active', 'suspended>revoked', 'rotated>revoked', 'rotated>destroyed', 'revoked>destroyed'))
    THEN
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'custody_keys: this change is not allowed';
    END IF;
END;
-- +goose StatementEnd

DROP TRIGGER IF EXISTS custody_signatures_moves;
-- +goose StatementBegin
CREATE TRIGGER custody_signatures_moves BEFORE UPDATE ON custody_signatures FOR EACH ROW
BEGIN
    IF NEW.id <> OLD.id OR NEW.owner <> OLD.owner OR NEW.purpose <> OLD.purpose OR NEW.subject <> OLD.subject OR NEW.attempt <> OLD.attempt
        OR NEW.key_id <> OLD.key_id OR NEW.digest <> OLD.digest OR NEW.request_id <> OLD.request_id OR NEW.not_after <> OLD.not_after
        OR NEW.actor <> OLD.actor OR NEW.created_at <> OLD.created_at
        OR (OLD.signature IS NOT NULL AND NOT (NEW.signature <=> OLD.signature))
        OR (OLD.closed <> '' AND (NEW.closed <> OLD.closed OR NOT (NEW.signature <=> OLD.signature)))
    THEN
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'custody_signatures: this change is not allowed';
    END IF;
END;
-- +goose StatementEnd

DROP TRIGGER IF EXISTS custody_audit_update;
-- +goose StatementBegin
CREATE TRIGGER custody_audit_update BEFORE UPDATE ON custody_audit FOR EACH ROW
BEGIN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'custody_audit: rows are for ever';
END;
-- +goose StatementEnd

DROP TRIGGER IF EXISTS custody_audit_head_moves;
-- +goose StatementBegin
CREATE TRIGGER custody_audit_head_moves BEFORE UPDATE ON custody_audit_head FOR EACH ROW
BEGIN
    IF NEW.seq <> OLD.seq + 1
    THEN
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'custody_audit_head: one row at a time';
    END IF;
END;
-- +goose StatementEnd

DROP TRIGGER IF EXISTS custody_keks_delete;
-- +goose StatementBegin
CREATE TRIGGER custody_keks_delete BEFORE DELETE ON custody_keks FOR EACH ROW
BEGIN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'custody_keks: rows are not deleted';
END;
-- +goose StatementEnd

DROP TRIGGER IF EXISTS custody_keys_delete;
-- +goose StatementBegin
CREATE TRIGGER custody_keys_delete BEFORE DELETE ON custody_keys FOR EACH ROW
BEGIN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'custody_keys: rows are not deleted';
END;
-- +goose StatementEnd

DROP TRIGGER IF EXISTS custody_signatures_delete;
-- +goose StatementBegin
CREATE TRIGGER custody_signatures_delete BEFORE DELETE ON custody_signatures FOR EACH ROW
BEGIN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'custody_signatures: rows are not deleted';
END;
-- +goose StatementEnd

DROP TRIGGER IF EXISTS custody_audit_delete;
-- +goose StatementBegin
CREATE TRIGGER custody_audit_delete BEFORE DELETE ON custody_audit FOR EACH ROW
BEGIN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'custody_audit: rows are not deleted';
END;
-- +goose StatementEnd

DROP TRIGGER IF EXISTS custody_audit_head_delete;
-- +goose StatementBegin
CREATE TRIGGER custody_audit_head_delete BEFORE DELETE ON custody_audit_head FOR EACH ROW
BEGIN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'custody_audit_head: rows are not deleted';
END;
-- +goose StatementEnd
