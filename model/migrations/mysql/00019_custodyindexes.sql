-- Keys come by the million, and each index on what is random in them costs a page of its own for each key. Where the order can
-- follow the time it does; and what is found by another index is not found by two.

-- +goose Up
-- Keys under a key-encryption key are walked in the order in which they were made, not by ID. The new index comes first: the
-- foreign key needs one of them.
SET @make = IF((SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = 'custody_keys' AND index_name = 'custody_keys_kek') = 0,
    'CREATE INDEX custody_keys_kek ON custody_keys (kek_version, created_at, id)', 'DO 0');
PREPARE make FROM @make;
EXECUTE make;
DEALLOCATE PREPARE make;
SET @make = IF((SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = 'custody_keys' AND index_name = 'custody_keys_under') > 0,
    'DROP INDEX custody_keys_under ON custody_keys', 'DO 0');
PREPARE make FROM @make;
EXECUTE make;
DEALLOCATE PREPARE make;

-- What a row is about, unless that is a key: such rows are found by key_id. It follows from what is hashed, and is no part of
-- it. One ALTER does all of it or nothing.
SET @search = IF((SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 'custody_audit' AND column_name = 'topic') > 0,
    'DO 0',
    'ALTER TABLE custody_audit
        ADD COLUMN topic VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin
            GENERATED ALWAYS AS (IF(LEFT(act, 4) = ''key.'' AND JSON_EXTRACT(detail, ''$.key'') IS NULL, NULL, subject)) VIRTUAL,
        ADD INDEX custody_audit_topic (topic, seq),
        DROP INDEX custody_audit_subject');
PREPARE search FROM @search;
EXECUTE search;
DEALLOCATE PREPARE search;
