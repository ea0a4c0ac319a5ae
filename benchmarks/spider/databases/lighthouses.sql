CREATE TABLE lighthouse (
  Lighthouse_ID INTEGER PRIMARY KEY,
  Name TEXT,
  Coast TEXT,
  Height_m REAL,
  Year_built INTEGER
);
CREATE TABLE keeper (
  Keeper_ID INTEGER PRIMARY KEY,
  Name TEXT,
  Age INTEGER
);
CREATE TABLE watch (
  Keeper_ID INTEGER REFERENCES keeper (Keeper_ID),
  Lighthouse_ID INTEGER REFERENCES lighthouse (Lighthouse_ID),
  Year INTEGER,
  Nights INTEGER
);
INSERT INTO lighthouse VALUES
  (1, 'Gull Point', 'west', 31.5, 1871), (2, 'Twin Rocks', 'north', 24.0, 1902), (3, 'Old Bell', 'west', 18.5, 1799),
  (4, 'Farness', 'east', 40.0, 1935);
INSERT INTO keeper VALUES (1, 'Ada Holm', 52), (2, 'Piet Rood', 38), (3, 'Ines Vale', 45), (4, 'Tom Ash', 38);
INSERT INTO watch VALUES
  (1, 1, 1990, 120), (1, 3, 1991, 80), (2, 1, 1991, 200), (3, 2, 1990, 90), (3, 2, 1991, 95), (3, 4, 1992, 10), (2, 3, 1992, 60);
