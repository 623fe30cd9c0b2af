-- +goose Up
-- What a transaction leaves behind at its end, so that whoever lost the answer to a COMMIT can ask. See commit.go.

CREATE TABLE IF NOT EXISTS commits (
  slot  VARCHAR(64) NOT NULL,
  token VARCHAR(64) NOT NULL,
  at    BIGINT NOT NULL,
  PRIMARY KEY (slot)
) ENGINE=InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin;
