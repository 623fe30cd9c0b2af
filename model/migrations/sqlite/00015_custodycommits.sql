-- +goose Up
-- The counterpart of a table that MySQL needs. Here it stays empty, as commits does.

CREATE TABLE custody_commits (
  slot  TEXT NOT NULL PRIMARY KEY,
  token TEXT NOT NULL,
  at    INTEGER NOT NULL
) STRICT;
