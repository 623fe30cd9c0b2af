-- Root keys that people bring in shares or a token keeps, a custody that is sealed, and keys sealed anew.

-- +goose Up

-- What is known of a root key; not the key.
CREATE TABLE IF NOT EXISTS custody_roots (
    id         VARCHAR(64) NOT NULL PRIMARY KEY,
    kind       VARCHAR(16) NOT NULL CHECK (kind IN ('file', 'shamir', 'pkcs11')),
    threshold  BIGINT NOT NULL,
    shares     BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    retired_at BIGINT NOT NULL,
    CHECK (threshold >= 0 AND threshold <= shares)
) ENGINE = InnoDB DEFAULT CHARSET = ascii COLLATE = ascii_bin;

-- Audit rows that wait: while custody is sealed nothing is at hand to seal the audit's head with. Whoever opens it
-- appends them first.
CREATE TABLE IF NOT EXISTS custody_waiting (
    id      BIGINT NOT NULL PRIMARY KEY AUTO_INCREMENT,
    at      BIGINT NOT NULL,
    actor   VARCHAR(128) NOT NULL,
    act     VARCHAR(64) NOT NULL,
    subject VARCHAR(128) NOT NULL,
    detail  TEXT NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = ascii COLLATE = ascii_bin;

-- When signing was stopped by hand, on all servers; 0: it was not. (MySQL has no ADD COLUMN IF NOT EXISTS.)
SET @cardflow = IF((SELECT COUNT(*) FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'custody_audit_head' AND column_name = 'stopped_at') = 0,
    'ALTER TABLE custody_audit_head ADD COLUMN stopped_at BIGINT NOT NULL DEFAULT 0', 'DO 0');
PREPARE cardflow FROM @cardflow;
EXECUTE cardflow;
DEALLOCATE PREPARE cardflow;

-- Keys are walked by the key-encryption key that they are under.
SET @cardflow = IF((SELECT COUNT(*) FROM information_schema.statistics
    WHERE table_schema = DATABASE() AND table_name = 'custody_keys' AND index_name = 'custody_keys_under') = 0,
    'CREATE INDEX custody_keys_under ON custody_keys (kek_version, id)', 'DO 0');
PREPARE cardflow FROM @cardflow;
EXECUTE cardflow;
DEALLOCATE PREPARE cardflow;
SET @cardflow = IF((SELECT COUNT(*) FROM information_schema.statistics
    WHERE table_schema = DATABASE() AND table_name = 'custody_keys' AND index_name = 'custody_keys_kek') > 0,
    'DROP INDEX custody_keys_kek ON custody_keys', 'DO 0');
PREPARE cardflow FROM @cardflow;
EXECUTE cardflow;
DEALLOCATE PREPARE cardflow;

-- A key-encryption key stays what it is under every root: only how it is sealed changes.
DROP TRIGGER IF EXISTS custody_keks_moves;
-- +goose StatementBegin
CREATE TRIGGER custody_keks_moves BEFORE UPDATE ON custody_keks FOR EACH ROW
BEGIN
    IF NEW.version <> OLD.version OR NEW.created_at <> OLD.created_at
    THEN
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'custody_keks: this change is not allowed';
    END IF;
END;
-- +goose StatementEnd

DROP TRIGGER IF EXISTS custody_roots_moves;
-- +goose StatementBegin
CREATE TRIGGER custody_roots_moves BEFORE UPDATE ON custody_roots FOR EACH ROW
BEGIN
    IF NEW.id <> OLD.id OR NEW.kind <> OLD.kind OR NEW.threshold <> OLD.threshold OR NEW.shares <> OLD.shares
        OR NEW.created_at <> OLD.created_at
    THEN
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'custody_roots: this change is not allowed';
    END IF;
END;
-- +goose StatementEnd

DROP TRIGGER IF EXISTS custody_roots_delete;
-- +goose StatementBegin
CREATE TRIGGER custody_roots_delete BEFORE DELETE ON custody_roots FOR EACH ROW
BEGIN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'custody_roots: rows are not deleted';
END;
-- +goose StatementEnd
