-- +goose Up
-- The counterpart of a table that MySQL needs. Here it stays empty: there is no network in which an answer gets lost.

CREATE TABLE commits (
  slot  TEXT NOT NULL PRIMARY KEY,
  token TEXT NOT NULL,
  at    INTEGER NOT NULL
) STRICT;
