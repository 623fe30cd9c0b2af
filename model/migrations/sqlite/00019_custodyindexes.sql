-- Keys come by the million, and each index on what is random in them costs a page of its own for each key. Where the order can
-- follow the time it does; and what is found by another index is not found by two.

-- +goose Up
-- Keys under a key-encryption key are walked in the order in which they were made, not by ID.
CREATE INDEX custody_keys_kek ON custody_keys (kek_version, created_at, id);
DROP INDEX custody_keys_under;

-- What a row is about, unless that is a key: such rows are found by key_id. It follows from what is hashed, and is no part of it.
ALTER TABLE custody_audit ADD COLUMN topic TEXT
    GENERATED ALWAYS AS (CASE WHEN substr(act, 1, 4) = 'key.' AND json_extract(detail, '$.key') IS NULL THEN NULL ELSE subject END) VIRTUAL;
CREATE INDEX custody_audit_topic ON custody_audit (topic, seq);
DROP INDEX custody_audit_subject;
