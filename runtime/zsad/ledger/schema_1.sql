-- One row per part. `record` is what was told, as JSON; the columns before it are the same, for
-- queries by hand. They describe the view that decided.
CREATE TABLE verdicts (
    seq INTEGER PRIMARY KEY,                -- from 1, without gaps
    line TEXT NOT NULL,
    part TEXT NOT NULL,
    verdict TEXT NOT NULL CHECK (verdict IN ('OK', 'NG', 'NO_RESULT', 'UNCALIBRATED')),
    reason TEXT,
    camera TEXT,
    frame TEXT,
    frame_sha256 TEXT,
    score REAL,
    p_value REAL,
    threshold REAL,
    score_kind TEXT,
    defect TEXT,
    captured_utc TEXT NOT NULL,
    decided_utc TEXT NOT NULL,
    capture_to_verdict_ms REAL NOT NULL,
    dry_run INTEGER NOT NULL,
    artifact TEXT,
    graph TEXT,
    backend TEXT,
    engine TEXT,
    recipe TEXT,
    calibration TEXT,
    audit INTEGER NOT NULL,                 -- the newest row of the audit when it was committed
    ledger_s REAL NOT NULL,                 -- seconds that the ledger had lived
    record TEXT NOT NULL
) STRICT;

CREATE INDEX verdicts_by_part ON verdicts (part);

CREATE VIEW views AS
SELECT
    verdicts.seq,
    views.key AS view,
    verdicts.part,
    json_extract(views.value, '$.camera') AS camera,
    json_extract(views.value, '$.frame') AS frame,
    json_extract(views.value, '$.frame_sha256') AS frame_sha256,
    json_extract(views.value, '$.verdict') AS verdict,
    json_extract(views.value, '$.reason') AS reason,
    json_extract(views.value, '$.score') AS score,
    json_extract(views.value, '$.p_value') AS p_value,
    json_extract(views.value, '$.threshold') AS threshold,
    json_extract(views.value, '$.score_kind') AS score_kind,
    json_extract(views.value, '$.defect') AS defect,
    json_extract(views.value, '$.snapshot') AS snapshot,
    json_extract(views.value, '$.heat_map') AS heat_map
FROM verdicts, json_each(verdicts.record, '$.views') AS views;

-- The files that exist. Retention deletes rows here, never the names in a record.
CREATE TABLE pictures (
    file TEXT PRIMARY KEY,                  -- below the ledger's folder
    seq INTEGER NOT NULL,
    view INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('frame', 'heat map')),
    ng INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT;

CREATE INDEX pictures_by_age ON pictures (ng, seq);

-- The outbox: how far each consumer has acknowledged, and when it did.
CREATE TABLE sinks (
    name TEXT PRIMARY KEY,
    acknowledged INTEGER NOT NULL
) STRICT;

CREATE TABLE acknowledgements (
    sink TEXT NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    acknowledged_utc TEXT NOT NULL,
    PRIMARY KEY (sink, last_seq)
) STRICT;

-- Each row's hash covers the row and the hash before it.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    utc TEXT NOT NULL,
    kind TEXT NOT NULL,
    who TEXT NOT NULL,
    what TEXT NOT NULL,
    before TEXT,
    after TEXT,
    reason TEXT NOT NULL,
    hash TEXT NOT NULL
) STRICT;

CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is only ever added to'); END;

CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is only ever added to'); END;

-- See zsad.ledger.clock; one row.
CREATE TABLE clock (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    ledger_s REAL NOT NULL,
    boot_id TEXT NOT NULL,
    boot_s REAL NOT NULL,
    wall_s REAL NOT NULL
) STRICT;
