-- Format 1. JSON columns hold values as plans print them: null, "text", ["a", "b"].
-- Times are RFC 3339 in UTC.

-- One value each: job, tenant, target (whose ledger it is), generation, accepted_scope, last_good_run (JSON),
-- delta_base (JSON: the snapshot that the next read may begin at; its links lie in its own folder).
CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- What the job knows about a record of the target, by target type and source key.
CREATE TABLE records (
    type TEXT NOT NULL,
    key TEXT NOT NULL,
    mapping TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('owned', 'retired', 'declined', 'deleted_in_target', 'pinned')),
    origin TEXT NOT NULL CHECK (origin IN ('created', 'adopted')),
    target_id TEXT NOT NULL,
    label TEXT NOT NULL,
    -- Attribute name to the value last applied and settled; {"a": applied, "d": settled} where the two differ.
    attributes TEXT NOT NULL,
    -- Of retired records: {"cause", "steps_done", "before"}.
    leaving TEXT,
    leaving_since TEXT,
    paused_at TEXT,
    missing_since TEXT,
    PRIMARY KEY (type, key)
) WITHOUT ROWID;

-- Every invocation that took the lock.
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'finished', 'interrupted')),
    as_of TEXT NOT NULL,
    finished TEXT,
    exit INTEGER,
    -- The plan it began to apply, and when that plan's source was read.
    plan TEXT,
    source_as_of TEXT,
    summary TEXT
);

-- Writes that were begun and not finished: durable before the target is touched, gone once the ledger agrees with it.
-- Kind 'batch': many records become visible at once; intent is the batch mark as JSON.
-- Kind 'change': one record, sent by itself; intent is when, the change and its type as JSON.
CREATE TABLE journal (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL REFERENCES runs (id),
    kind TEXT NOT NULL,
    type TEXT NOT NULL,
    intent TEXT NOT NULL
);

-- What records become once their journal entry is committed; a null state takes the record out.
-- No foreign key: SQLite empties the table in one step only without one.
CREATE TABLE journal_rows (
    journal INTEGER NOT NULL,
    key TEXT NOT NULL,
    mapping TEXT,
    state TEXT,
    origin TEXT,
    target_id TEXT,
    label TEXT,
    attributes TEXT,
    leaving TEXT,
    leaving_since TEXT,
    paused_at TEXT,
    missing_since TEXT,
    UNIQUE (journal, key)
);

-- Plans that a limit held, and where they are saved.
CREATE TABLE held_plans (
    plan TEXT NOT NULL PRIMARY KEY,
    file TEXT NOT NULL,
    as_of TEXT NOT NULL,
    limits TEXT NOT NULL
) WITHOUT ROWID;

-- A person's word that a limit may be passed; used_by is the run that went through on it.
CREATE TABLE approvals (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    limit_name TEXT NOT NULL,
    plan TEXT NOT NULL,
    at TEXT NOT NULL,
    by TEXT NOT NULL,
    scope TEXT,
    used_by INTEGER REFERENCES runs (id)
);

CREATE TABLE approved_records (
    approval INTEGER NOT NULL REFERENCES approvals (id),
    type TEXT NOT NULL,
    key TEXT NOT NULL,
    cause TEXT,
    -- What of the record was shown: an attribute, or a fingerprint of the elements taken out. Empty: all of it.
    shown TEXT NOT NULL,
    PRIMARY KEY (approval, type, key, shown)
) WITHOUT ROWID;
