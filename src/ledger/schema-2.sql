-- Format 2: what runs wrote, for `undo`; what persons decided about records; what the target refused.

-- What was written to the target on the way, as in `written`; null where nothing was.
ALTER TABLE journal_rows ADD COLUMN written TEXT;

-- What a run wrote into the target, by record; more than one line where it took several requests.
-- The columns behind `written` are the record before, as in `records`, kept of deletes alone.
CREATE TABLE written (
    run INTEGER NOT NULL REFERENCES runs (id),
    type TEXT NOT NULL,
    key TEXT NOT NULL,
    -- The journal entry it went through.
    journal INTEGER NOT NULL,
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
    PRIMARY KEY (run, type, key, journal)
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
