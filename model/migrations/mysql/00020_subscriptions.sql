-- Messages that consumers have let be sent to them (订阅消息), and which of those are to be sent.

-- +goose Up
CREATE TABLE IF NOT EXISTS subscriptions (
    id          VARCHAR(64) NOT NULL PRIMARY KEY,
    participant VARCHAR(64) NOT NULL,
    kind        VARCHAR(32) NOT NULL,
    event       VARCHAR(64) NULL,
    subject     VARCHAR(64) NULL,
    happened_at BIGINT NOT NULL DEFAULT 0,
    due_at      BIGINT NOT NULL DEFAULT 0,
    created_at  BIGINT NOT NULL,
    CHECK ((event IS NULL) = (due_at = 0)),
    INDEX subscriptions_participant (participant, kind, due_at),
    INDEX subscriptions_due (due_at),
    INDEX subscriptions_subject (subject)
) ENGINE = InnoDB DEFAULT CHARSET = ascii COLLATE = ascii_bin;
