-- Recoveries are listed, all or those in a state, newest first.

-- +goose Up
CREATE INDEX recoveries_created_at ON recoveries (created_at, id);
CREATE INDEX recoveries_state ON recoveries (state, created_at, id);
