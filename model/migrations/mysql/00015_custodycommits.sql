-- +goose Up
-- What transactions of the custodian leave behind at their end, see 00003: in a table that servers beside it can't write.

CREATE TABLE IF NOT EXISTS custody_commits (
  slot  VARCHAR(64) NOT NULL,
  token VARCHAR(64) NOT NULL,
  at    BIGINT NOT NULL,
  PRIMARY KEY (slot)
) ENGINE=InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin;
