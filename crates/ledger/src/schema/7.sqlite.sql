CREATE TABLE segments(id INTEGER PRIMARY KEY, owner INTEGER NOT NULL, kind TEXT NOT NULL, hour INTEGER NOT NULL,
  level INTEGER NOT NULL, pairs INTEGER NOT NULL, state TEXT NOT NULL, target INTEGER) STRICT;
CREATE TABLE segment_blocks(segment INTEGER NOT NULL, first BLOB NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY(segment, first)) STRICT;
CREATE INDEX seen_in_order ON seen(merchant, code, shopper, place, item);
