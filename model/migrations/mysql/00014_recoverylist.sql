-- Recoveries are listed, all or those in a state, newest first.

-- +goose Up
SET @make = IF((SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = 'recoveries' AND index_name = 'recoveries_created_at') = 0,
    'CREATE INDEX recoveries_created_at ON recoveries (created_at, id)', 'DO 0');
PREPARE make FROM @make;
EXECUTE make;
DEALLOCATE PREPARE make;
SET @make = IF((SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = 'recoveries' AND index_name = 'recoveries_state') = 0,
    'CREATE INDEX recoveries_state ON recoveries (state, created_at, id)', 'DO 0');
PREPARE make FROM @make;
EXECUTE make;
DEALLOCATE PREPARE make;
