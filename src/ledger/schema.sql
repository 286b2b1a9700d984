-- Format 2. JSON columns hold values as plans print them: null, "text", ["a", "b"].
-- Times are RFC 3339 in UTC.

-- One value each: job, tenant, target (whose ledger it is), generation, accepted_scope, last_good_run (JSON),
-- delta_base (JSON: the snapshot that the next read may begin at; its links lie in its own folder).
CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
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
-- Ids are never used twice: what an entry brought is known by it for good.
-- Kind 'batch': many records become visible at once; intent is the batch mark as JSON, null while rows are collected
-- and nothing can have been made visible.
-- Kind 'change': one record, sent by itself; intent is when, the change and its type as JSON.
-- Kind 'ledger': rows that concern the ledger alone; never seen outside the transaction that takes them over.
CREATE TABLE journal (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL REFERENCES runs (id),
    kind TEXT NOT NULL CHECK (kind IN ('batch', 'change', 'ledger')),
    type TEXT NOT NULL,
    intent TEXT,
    -- Whether its rows change ownership or settled values.
    moves INTEGER NOT NULL DEFAULT 0
);

-- What the job knows about records of the target, by target type and source key. Not true as long as its journal entry
-- is there: then `replaced` has what is. A null state takes the record out.
CREATE TABLE rows (
    type TEXT NOT NULL,
    key TEXT NOT NULL,
    -- The journal entry that brought it.
    entry INTEGER NOT NULL,
    mapping TEXT,
    state TEXT CHECK (state IN ('owned', 'retired', 'declined', 'deleted_in_target', 'pinned')),
    origin TEXT CHECK (origin IN ('created', 'adopted')),
    target_id TEXT,
    label TEXT,
    -- Attribute name to the value last applied and settled; {"a": applied, "d": settled} where the two differ.
    attributes TEXT,
    -- Of retired records: {"cause", "steps_done", "before"}.
    leaving TEXT,
    leaving_since TEXT,
    paused_at TEXT,
    missing_since TEXT,
    PRIMARY KEY (type, key)
) WITHOUT ROWID;

CREATE INDEX rows_taken_out ON rows (entry) WHERE state IS NULL;

-- Rows that others were written over, each as long as the journal entry is there that did it.
-- The columns behind `brought_by` are the row, as in `rows`.
CREATE TABLE replaced (
    type TEXT NOT NULL,
    key TEXT NOT NULL,
    entry INTEGER NOT NULL,
    brought_by INTEGER NOT NULL,
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
    PRIMARY KEY (type, key)
) WITHOUT ROWID;

-- What is true now.
CREATE VIEW records AS
SELECT type, key, mapping, state, origin, target_id, label, attributes, leaving, leaving_since, paused_at, missing_since
FROM rows WHERE state IS NOT NULL AND entry NOT IN (SELECT id FROM journal)
UNION ALL
SELECT type, key, mapping, state, origin, target_id, label, attributes, leaving, leaving_since, paused_at, missing_since
FROM replaced;

-- What a run wrote into the target, by record; more than one line where it took several requests. True once its
-- journal entry is gone.
-- The columns behind `written` are the record before, as in `rows`, kept of deletes alone.
CREATE TABLE written (
    run INTEGER NOT NULL REFERENCES runs (id),
    type TEXT NOT NULL,
    key TEXT NOT NULL,
    -- The journal entry it went through.
    entry INTEGER NOT NULL,
    -- {"action", "values": [{"name", "before", "after"}]}; no values of creates and deletes.
    written TEXT NOT NULL,
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
    PRIMARY KEY (run, type, key, entry)
) WITHOUT ROWID;

-- Plans that a limit held, and where they are saved.
CREATE TABLE held_plans (
    plan TEXT NOT NULL PRIMARY KEY,
    file TEXT NOT NULL,
    as_of TEXT NOT NULL,
    limits TEXT NOT NULL,
    -- Whether it takes a run back: the nights leave it held.
    undoes INTEGER NOT NULL
) WITHOUT ROWID;

-- A person's word that a limit may be passed; used_by is the run that went through on it.
CREATE TABLE approvals (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    limit_name TEXT NOT NULL,
    plan TEXT NOT NULL,
    at TEXT NOT NULL,
    by TEXT NOT NULL,
    scope TEXT,
    -- Whether it is about a plan that takes a run back: the nights neither go by it nor use it up.
    undoes INTEGER NOT NULL,
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

-- What persons decided about single records: resolve, adopt, decline, pin, and taking the last two back.
CREATE TABLE decisions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    by TEXT NOT NULL,
    what TEXT NOT NULL,
    type TEXT NOT NULL,
    key TEXT NOT NULL,
    -- What the ledger held of the record before, as plans print it; null where it held nothing.
    before TEXT
);

-- Changes that the target refused: the same content is not sent again for some days.
CREATE TABLE refused (
    type TEXT NOT NULL,
    key TEXT NOT NULL,
    -- A fingerprint of what was sent.
    content TEXT NOT NULL,
    at TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (type, key)
) WITHOUT ROWID;
