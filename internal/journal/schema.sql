-- The journal: what was said and done (entries), what it came to (cases),
-- and where it was shown (posts). Times are integer microseconds since 1970, UTC.
-- The keys are INTEGER, good for two thousand million entries on PostgreSQL, because on
-- SQLite that, and no other word, saves each table a second tree.
-- Every write transaction begins with the head row, so order, numbers and hash
-- chain have one author at a time, whoever and however many the writers are.

CREATE TABLE head (
    one       BIGINT PRIMARY KEY CHECK (one = 1), -- there is exactly one
    journal   TEXT   NOT NULL,                    -- random id of this journal, also in entry 0
    entry     BIGINT NOT NULL,                    -- number of the last entry
    hash      TEXT   NOT NULL,                    -- its hash
    time      BIGINT NOT NULL,                    -- its time
    last_case BIGINT NOT NULL                     -- number of the last case
);

-- Facts. Rows are inserted and never changed.
CREATE TABLE entries (
    number INTEGER PRIMARY KEY, -- 0, 1, 2, … without a gap
    case_  BIGINT NOT NULL,     -- the case it belongs to, 0 for none
    kind   TEXT   NOT NULL,
    time   BIGINT NOT NULL,     -- never before that of the entry before
    body   TEXT   NOT NULL,     -- the facts as JSON, hashed byte for byte
    prev   TEXT   NOT NULL,     -- hash of the entry before
    hash   TEXT   NOT NULL      -- SHA-256, see Entry.sum
);
CREATE INDEX entries_case ON entries (case_, number);

-- Current state. A row changes only in the transaction that inserts the entry saying why.
CREATE TABLE cases (
    number     INTEGER PRIMARY KEY,         -- 1, 2, 3, … without a gap
    state      TEXT   NOT NULL,
    room       TEXT   NOT NULL,
    requester  TEXT   NOT NULL,             -- Slack user id
    channel    TEXT   NOT NULL,             -- where its card goes
    token      TEXT   NOT NULL UNIQUE,      -- what its buttons carry
    card_ts    TEXT   NOT NULL DEFAULT '',  -- the card's ts, once known
    due        BIGINT NOT NULL,             -- pending, confirmed: when that runs out; else 0
    not_before BIGINT NOT NULL DEFAULT 0,   -- confirmed: not to be attempted earlier
    turn       BIGINT NOT NULL DEFAULT 0,   -- entry of the confirmation: the order of closing
    again      BIGINT NOT NULL DEFAULT 0,   -- the case that Try again opened for this one
    first      BIGINT NOT NULL,             -- its first entry
    last       BIGINT NOT NULL,             -- its last entry
    ended      BIGINT NOT NULL DEFAULT 0,   -- the entry that ended it, 0 while it is open
    told       BIGINT NOT NULL,             -- its last entry that calls for a post
    drawn      BIGINT NOT NULL,             -- its last entry that changes the card
    posted     BIGINT NOT NULL DEFAULT 0    -- its last entry that has a post
);
-- SQLite uses a partial index only for a query that repeats its condition word for word.
CREATE INDEX cases_queue    ON cases (turn) WHERE state IN ('confirmed', 'closing');
CREATE INDEX cases_due      ON cases (due) WHERE due > 0;
CREATE INDEX cases_room     ON cases (room, ended);
CREATE INDEX cases_person   ON cases (requester) WHERE state = 'pending';
CREATE INDEX cases_asked    ON cases (requester, number);
CREATE INDEX cases_unposted ON cases (channel, told) WHERE told > posted;

-- The Slack messages that show entries: the card of a case, and the replies in its thread.
CREATE TABLE posts (
    first     INTEGER PRIMARY KEY,        -- first entry shown
    last      BIGINT NOT NULL,            -- last entry shown when it was posted
    case_     BIGINT NOT NULL,
    kind      TEXT   NOT NULL,            -- card, reply
    state     TEXT   NOT NULL,            -- waiting, sending, doubt, sent, undeliverable
    channel   TEXT   NOT NULL,
    ts        TEXT   NOT NULL DEFAULT '', -- Slack's, once known
    tried     BIGINT NOT NULL,            -- when the first try began
    retry     BIGINT NOT NULL DEFAULT 0,  -- waiting, doubt: not before; sending: since when
    cause     TEXT   NOT NULL DEFAULT '', -- why it is not sent yet, or never will be
    seen      BIGINT NOT NULL DEFAULT 0,  -- card: last entry it shows by now
    changes   BIGINT NOT NULL DEFAULT 0,  -- card: how often there was a reason to draw it again
    redraw    BIGINT NOT NULL DEFAULT 0   -- card: when it is to be drawn again, 0 for never
);
CREATE INDEX posts_case ON posts (case_, first);
CREATE INDEX posts_open ON posts (channel, first) WHERE state IN ('waiting', 'sending', 'doubt');
CREATE INDEX posts_redraw ON posts (redraw) WHERE redraw > 0;

-- What Slack has delivered lately, so that a second delivery changes nothing.
CREATE TABLE deliveries (
    key   TEXT   PRIMARY KEY, -- envelope, or person and instant of a click
    case_ BIGINT NOT NULL,    -- the case it led to, 0 for none
    time  BIGINT NOT NULL
);
CREATE INDEX deliveries_time ON deliveries (time);

-- Refusals beyond the first few of a person and hour are only counted.
CREATE TABLE refusals (
    person TEXT   NOT NULL,
    hour   BIGINT NOT NULL, -- since 1970
    count  BIGINT NOT NULL,
    PRIMARY KEY (person, hour)
);
