-- Messages that consumers have let be sent to them (订阅消息), and which of those are to be sent.

-- +goose Up
CREATE TABLE subscriptions (
    id          TEXT NOT NULL PRIMARY KEY,
    participant TEXT NOT NULL,
    kind        TEXT NOT NULL,
    event       TEXT,
    subject     TEXT,
    happened_at INTEGER NOT NULL DEFAULT 0,
    due_at      INTEGER NOT NULL DEFAULT 0,
    created_at  INTEGER NOT NULL,
    CHECK ((event IS NULL) = (due_at = 0))
) STRICT;
CREATE INDEX subscriptions_participant ON subscriptions (participant, kind, due_at);
CREATE INDEX subscriptions_due ON subscriptions (due_at);
CREATE INDEX subscriptions_subject ON subscriptions (subject);
