BEGIN TRANSACTION;
CREATE TABLE acknowledgements (
    sink TEXT NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    acknowledged_utc TEXT NOT NULL,
    PRIMARY KEY (sink, last_seq)
) STRICT;
INSERT INTO "acknowledgements" VALUES('plc',1,2,'2027-01-15T08:00:00.000+00:00');
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
INSERT INTO "audit" VALUES(1,'2027-01-15T08:00:00.000+00:00','threshold','k.meier','fp32','0.5','0.6','false rejects','54a2c1bfad2218c85c90c0a2cfc6fc888a8edf9eb527fee5aa5ca9f8b7d4d117');
CREATE TABLE clock (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    ledger_s REAL NOT NULL,
    boot_id TEXT NOT NULL,
    boot_s REAL NOT NULL,
    wall_s REAL NOT NULL
) STRICT;
INSERT INTO "clock" VALUES(1,0.0,'boot-1',100.0,1800000000.0);
CREATE TABLE pictures (
    file TEXT PRIMARY KEY,                  -- below the ledger's folder
    seq INTEGER NOT NULL,
    view INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('frame', 'heat map')),
    ng INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT;
CREATE TABLE sinks (
    name TEXT PRIMARY KEY,
    acknowledged INTEGER NOT NULL
) STRICT;
INSERT INTO "sinks" VALUES('plc',2);
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
INSERT INTO "verdicts" VALUES(1,'line','0','OK',NULL,'top','0','c268d146a354e30cb58521e4915b027e2f07528aadd4ca7cf3c4455bfc8b5c72',0.25,NULL,0.5,'graph',NULL,'2026-11-26T08:00:00.000+00:00','2026-11-26T08:00:00.000+00:00',40.5,0,'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','cpu',NULL,NULL,NULL,1,0.0,'{"capture_to_verdict_ms":40.5,"captured_utc":"2026-11-26T08:00:00.000+00:00","decided_utc":"2026-11-26T08:00:00.000+00:00","dry_run":false,"line":"line","part":"0","reason":null,"schema":1,"seq":1,"verdict":"OK","views":[{"arithmetic":null,"artifact":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","backend":"cpu","calibration":null,"camera":"top","defect":null,"defect_confidence":null,"engine":null,"frame":"0","frame_sha256":"c268d146a354e30cb58521e4915b027e2f07528aadd4ca7cf3c4455bfc8b5c72","graph":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","heat_map":null,"p_value":null,"reason":null,"recipe":null,"score":0.25,"score_kind":"graph","snapshot":null,"stages_ms":{},"threshold":0.5,"types":{},"verdict":"OK"}]}');
INSERT INTO "verdicts" VALUES(2,'line','1','NG',NULL,'top','0','d2e65123d9492f36bbcd9e3c585cffe385ba62cb324141d97c0d628755548bbc',0.25,NULL,0.5,'graph',NULL,'2026-11-26T08:00:00.000+00:00','2026-11-26T08:00:00.000+00:00',41.5,0,'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','cpu',NULL,NULL,NULL,1,0.0,'{"capture_to_verdict_ms":41.5,"captured_utc":"2026-11-26T08:00:00.000+00:00","decided_utc":"2026-11-26T08:00:00.000+00:00","dry_run":false,"line":"line","part":"1","reason":null,"schema":1,"seq":2,"verdict":"NG","views":[{"arithmetic":null,"artifact":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","backend":"cpu","calibration":null,"camera":"top","defect":null,"defect_confidence":null,"engine":null,"frame":"0","frame_sha256":"d2e65123d9492f36bbcd9e3c585cffe385ba62cb324141d97c0d628755548bbc","graph":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","heat_map":null,"p_value":null,"reason":null,"recipe":null,"score":0.25,"score_kind":"graph","snapshot":null,"stages_ms":{},"threshold":0.5,"types":{},"verdict":"NG"}]}');
INSERT INTO "verdicts" VALUES(3,'line','2','OK',NULL,'top','0','0a2e264ac5c00e0c0b0a8a8ad0a6e75437d2f48ea692360109316fc68d99be80',0.25,NULL,0.5,'graph',NULL,'2026-11-26T08:00:00.000+00:00','2026-11-26T08:00:00.000+00:00',42.5,0,'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','cpu',NULL,NULL,NULL,1,0.0,'{"capture_to_verdict_ms":42.5,"captured_utc":"2026-11-26T08:00:00.000+00:00","decided_utc":"2026-11-26T08:00:00.000+00:00","dry_run":false,"line":"line","part":"2","reason":null,"schema":1,"seq":3,"verdict":"OK","views":[{"arithmetic":null,"artifact":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","backend":"cpu","calibration":null,"camera":"top","defect":null,"defect_confidence":null,"engine":null,"frame":"0","frame_sha256":"0a2e264ac5c00e0c0b0a8a8ad0a6e75437d2f48ea692360109316fc68d99be80","graph":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","heat_map":null,"p_value":null,"reason":null,"recipe":null,"score":0.25,"score_kind":"graph","snapshot":null,"stages_ms":{},"threshold":0.5,"types":{},"verdict":"OK"}]}');
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
CREATE INDEX pictures_by_age ON pictures (ng, seq);
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is only ever added to'); END;
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is only ever added to'); END;
COMMIT;
PRAGMA application_id=2054381924;
PRAGMA user_version=1;
