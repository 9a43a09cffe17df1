CREATE TABLE segments(id BIGINT PRIMARY KEY, owner BIGINT NOT NULL, kind TEXT COLLATE "C" NOT NULL, hour BIGINT NOT NULL,
  level BIGINT NOT NULL, pairs BIGINT NOT NULL, state TEXT COLLATE "C" NOT NULL, target BIGINT);
CREATE TABLE segment_blocks(segment BIGINT NOT NULL, first BYTEA NOT NULL, body BYTEA NOT NULL,
  PRIMARY KEY(segment, first));
-- Blocks fit a page: they stay in their row as they are.
ALTER TABLE segment_blocks ALTER COLUMN body SET STORAGE PLAIN;
CREATE INDEX seen_in_order ON seen(merchant, code, shopper, place, item);
