CREATE TABLE meta(key TEXT COLLATE "C" PRIMARY KEY, value TEXT COLLATE "C" NOT NULL);
CREATE TABLE positions(facts BIGINT, topic TEXT COLLATE "C", partition BIGINT, log TEXT COLLATE "C" NOT NULL,
  place BIGINT NOT NULL,
  part BIGINT NOT NULL, hash TEXT COLLATE "C" NOT NULL, PRIMARY KEY(facts, topic, partition));
CREATE TABLE progress(facts BIGINT PRIMARY KEY, next BIGINT NOT NULL, received BIGINT NOT NULL);
CREATE TABLE rules(version BIGINT PRIMARY KEY, merchant TEXT COLLATE "C" NOT NULL, sha256 TEXT COLLATE "C" NOT NULL,
  currency TEXT COLLATE "C" NOT NULL);
CREATE TABLE counters(merchant TEXT COLLATE "C", scope TEXT COLLATE "C", key TEXT COLLATE "C", day BIGINT,
  metric TEXT COLLATE "C", facts BIGINT,
  value BIGINT NOT NULL, PRIMARY KEY(merchant, scope, key, day, metric, facts));
CREATE TABLE funnels(merchant TEXT COLLATE "C", funnel TEXT COLLATE "C", step BIGINT, action TEXT COLLATE "C",
  channel TEXT COLLATE "C", day BIGINT, facts BIGINT,
  shoppers BIGINT NOT NULL, PRIMARY KEY(merchant, funnel, step, action, channel, day, facts));
CREATE TABLE postings(merchant TEXT COLLATE "C" NOT NULL, number TEXT COLLATE "C" NOT NULL,
  shopper TEXT COLLATE "C" NOT NULL, payee_kind TEXT COLLATE "C" NOT NULL,
  payee TEXT COLLATE "C" NOT NULL, amount BIGINT NOT NULL, approve_at BIGINT NOT NULL, cause TEXT COLLATE "C" NOT NULL);
CREATE INDEX postings_by_order ON postings(merchant, number);
CREATE TABLE orders(merchant TEXT COLLATE "C", number TEXT COLLATE "C", shopper TEXT COLLATE "C", time BIGINT NOT NULL,
  base BIGINT NOT NULL,
  refunded BIGINT NOT NULL, kind TEXT COLLATE "C", guide TEXT COLLATE "C", store TEXT COLLATE "C", PRIMARY KEY(merchant,
  number, shopper));
CREATE TABLE members(merchant TEXT COLLATE "C", shopper TEXT COLLATE "C", time BIGINT NOT NULL, guide TEXT COLLATE "C",
  store TEXT COLLATE "C",
  PRIMARY KEY(merchant, shopper));
CREATE TABLE awards(merchant TEXT COLLATE "C" NOT NULL, campaign TEXT COLLATE "C" NOT NULL, version BIGINT NOT NULL,
  code TEXT COLLATE "C" NOT NULL,
  shopper TEXT COLLATE "C" NOT NULL, entry BIGINT NOT NULL, time BIGINT NOT NULL, drawn TEXT COLLATE "C" NOT NULL,
  awarded TEXT COLLATE "C",
  prize_kind TEXT COLLATE "C", amount BIGINT, unlock TEXT COLLATE "C", unlock_until BIGINT);
CREATE INDEX awards_by_code ON awards(merchant, code);
CREATE TABLE unlocking(merchant TEXT COLLATE "C" NOT NULL, shopper TEXT COLLATE "C" NOT NULL,
  action TEXT COLLATE "C" NOT NULL, time BIGINT NOT NULL);
CREATE INDEX unlocking_by_shopper ON unlocking(merchant, shopper, action, time);
CREATE TABLE codes(merchant TEXT COLLATE "C", code TEXT COLLATE "C", kind TEXT COLLATE "C" NOT NULL,
  scans BIGINT NOT NULL, first_time BIGINT NOT NULL,
  first_region TEXT COLLATE "C", PRIMARY KEY(merchant, code));
CREATE TABLE seen(merchant TEXT COLLATE "C" NOT NULL, code TEXT COLLATE "C" NOT NULL, time BIGINT NOT NULL,
  shopper TEXT COLLATE "C" NOT NULL, region TEXT COLLATE "C",
  outcome TEXT COLLATE "C" NOT NULL, campaign TEXT COLLATE "C", entry BIGINT, event BYTEA NOT NULL);
CREATE INDEX seen_by_code ON seen(merchant, code, shopper);
CREATE TABLE answers(hour BIGINT, event BYTEA, received BIGINT NOT NULL, desk BIGINT NOT NULL,
  told TEXT COLLATE "C" NOT NULL, code TEXT COLLATE "C",
  campaign TEXT COLLATE "C", prize TEXT COLLATE "C", claim_time BIGINT, claim_region TEXT COLLATE "C", PRIMARY KEY(hour,
  event));
