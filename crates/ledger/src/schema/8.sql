DROP TABLE seen;
DROP TABLE codes;
DROP TABLE answers;
