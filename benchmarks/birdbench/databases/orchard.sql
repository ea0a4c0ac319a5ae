CREATE TABLE variety (
  variety_id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  fruit TEXT NOT NULL,
  ripe_month INTEGER
);
CREATE TABLE tree (
  tree_id INTEGER PRIMARY KEY,
  variety_id INTEGER NOT NULL REFERENCES variety (variety_id),
  planted INTEGER NOT NULL,
  field TEXT NOT NULL
);
CREATE TABLE harvest (
  tree_id INTEGER NOT NULL REFERENCES tree (tree_id),
  year INTEGER NOT NULL,
  kilograms REAL,
  PRIMARY KEY (tree_id, year)
);
INSERT INTO variety VALUES
  (1, 'Boskoop', 'apple', 10), (2, 'Cox', 'apple', 9), (3, 'Conference', 'pear', 9), (4, 'Reine Claude', 'plum', NULL);
INSERT INTO tree VALUES
  (1, 1, 1988, 'north'), (2, 1, 2003, 'north'), (3, 2, 2003, 'south'), (4, 3, 1975, 'south'), (5, 4, 2015, 'brook'), (6, 3, 2015, 'brook');
INSERT INTO harvest VALUES
  (1, 2021, 84.5), (1, 2022, 61.0), (2, 2021, 40.0), (2, 2022, 55.5), (3, 2021, 38.0), (3, 2022, NULL),
  (4, 2021, 120.0), (4, 2022, 97.5), (5, 2022, 12.0), (6, 2021, 9.5), (6, 2022, 21.0);
