-- A root key that its holders have, and that waits for two people.

-- +goose Up

-- The key-encryption keys as they will be under it; nothing of the root itself. There is one such root at most.
CREATE TABLE IF NOT EXISTS custody_next_root (
    id          VARCHAR(64) NOT NULL PRIMARY KEY,
    kind        VARCHAR(16) NOT NULL CHECK (kind IN ('file', 'shamir', 'pkcs11')),
    threshold   BIGINT NOT NULL,
    shares      BIGINT NOT NULL,
    made_by     VARCHAR(128) NOT NULL,
    made_at     BIGINT NOT NULL,
    before_id   VARCHAR(64) NOT NULL,
    keks        MEDIUMTEXT NOT NULL,
    kek_version BIGINT NOT NULL,
    seal        BLOB NOT NULL,
    CHECK (threshold >= 0 AND threshold <= shares)
) ENGINE = InnoDB DEFAULT CHARSET = ascii COLLATE = ascii_bin;
