CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID, STRICT;
CREATE TABLE positions(facts INTEGER, topic TEXT, partition INTEGER, log TEXT NOT NULL, place INTEGER NOT NULL,
  part INTEGER NOT NULL, hash TEXT NOT NULL, PRIMARY KEY(facts, topic, partition)) WITHOUT ROWID, STRICT;
CREATE TABLE progress(facts INTEGER PRIMARY KEY, next INTEGER NOT NULL, received INTEGER NOT NULL) STRICT;
CREATE TABLE rules(version INTEGER PRIMARY KEY, merchant TEXT NOT NULL, sha256 TEXT NOT NULL, currency TEXT NOT NULL) STRICT;
CREATE TABLE counters(merchant TEXT, scope TEXT, key TEXT, day INTEGER, metric TEXT, facts INTEGER,
  value INTEGER NOT NULL, PRIMARY KEY(merchant, scope, key, day, metric, facts)) WITHOUT ROWID, STRICT;
CREATE TABLE funnels(merchant TEXT, funnel TEXT, step INTEGER, action TEXT, channel TEXT, day INTEGER, facts INTEGER,
  shoppers INTEGER NOT NULL, PRIMARY KEY(merchant, funnel, step, action, channel, day, facts)) WITHOUT ROWID, STRICT;
CREATE TABLE postings(merchant TEXT NOT NULL, number TEXT NOT NULL, shopper TEXT NOT NULL, payee_kind TEXT NOT NULL,
  payee TEXT NOT NULL, amount INTEGER NOT NULL, approve_at INTEGER NOT NULL, cause TEXT NOT NULL) STRICT;
CREATE INDEX postings_by_order ON postings(merchant, number);
CREATE TABLE orders(merchant TEXT, number TEXT, shopper TEXT, time INTEGER NOT NULL, base INTEGER NOT NULL,
  refunded INTEGER NOT NULL, kind TEXT, guide TEXT, store TEXT, PRIMARY KEY(merchant, number, shopper)) WITHOUT ROWID, STRICT;
CREATE TABLE members(merchant TEXT, shopper TEXT, time INTEGER NOT NULL, guide TEXT, store TEXT,
  PRIMARY KEY(merchant, shopper)) WITHOUT ROWID, STRICT;
CREATE TABLE awards(merchant TEXT NOT NULL, campaign TEXT NOT NULL, version INTEGER NOT NULL, code TEXT NOT NULL,
  shopper TEXT NOT NULL, entry INTEGER NOT NULL, time INTEGER NOT NULL, drawn TEXT NOT NULL, awarded TEXT,
  prize_kind TEXT, amount INTEGER, unlock TEXT, unlock_until INTEGER) STRICT;
CREATE INDEX awards_by_code ON awards(merchant, code);
CREATE TABLE unlocking(merchant TEXT NOT NULL, shopper TEXT NOT NULL, action TEXT NOT NULL, time INTEGER NOT NULL) STRICT;
CREATE INDEX unlocking_by_shopper ON unlocking(merchant, shopper, action, time);
CREATE TABLE codes(merchant TEXT, code TEXT, kind TEXT NOT NULL, scans INTEGER NOT NULL, first_time INTEGER NOT NULL,
  first_region TEXT, PRIMARY KEY(merchant, code)) WITHOUT ROWID, STRICT;
CREATE TABLE seen(merchant TEXT NOT NULL, code TEXT NOT NULL, time INTEGER NOT NULL, shopper TEXT NOT NULL, region TEXT,
  outcome TEXT NOT NULL, campaign TEXT, entry INTEGER, event BLOB NOT NULL) STRICT;
CREATE INDEX seen_by_code ON seen(merchant, code, shopper);
CREATE TABLE answers(hour INTEGER, event BLOB, received INTEGER NOT NULL, desk INTEGER NOT NULL, told TEXT NOT NULL, code TEXT,
  campaign TEXT, prize TEXT, claim_time INTEGER, claim_region TEXT, PRIMARY KEY(hour, event)) WITHOUT ROWID, STRICT;
