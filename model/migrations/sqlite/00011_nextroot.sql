-- A root key that its holders have, and that waits for two people.

-- +goose Up

-- The key-encryption keys as they will be under it; nothing of the root itself. There is one such root at most.
CREATE TABLE custody_next_root (
    id          TEXT NOT NULL PRIMARY KEY,
    kind        TEXT NOT NULL CHECK (kind IN ('file', 'shamir', 'pkcs11')),
    threshold   INTEGER NOT NULL,
    shares      INTEGER NOT NULL,
    made_by     TEXT NOT NULL,
    made_at     INTEGER NOT NULL,
    before_id   TEXT NOT NULL,
    keks        TEXT NOT NULL,
    kek_version INTEGER NOT NULL,
    seal        BLOB NOT NULL,
    CHECK (threshold >= 0 AND threshold <= shares)
) STRICT;
