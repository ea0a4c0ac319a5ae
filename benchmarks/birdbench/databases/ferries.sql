CREATE TABLE harbour (
  code TEXT PRIMARY KEY,
  `Name of harbour` TEXT NOT NULL,
  island INTEGER NOT NULL
);
CREATE TABLE crossing (
  crossing_id INTEGER PRIMARY KEY,
  origin TEXT NOT NULL REFERENCES harbour (code),
  destination TEXT NOT NULL REFERENCES harbour (code),
  departs TEXT NOT NULL,
  minutes INTEGER NOT NULL,
  passengers INTEGER,
  cancelled INTEGER NOT NULL DEFAULT 0
);
INSERT INTO harbour VALUES ('MAI', 'Mainport', 0), ('LUN', 'Lunna', 1), ('SKE', 'Skerry', 1), ('OLD', 'Old Quay', 0);
INSERT INTO crossing VALUES
  (1, 'MAI', 'LUN', '2023-05-01 08:00', 45, 120, 0), (2, 'LUN', 'MAI', '2023-05-01 09:15', 45, 64, 0),
  (3, 'MAI', 'SKE', '2023-05-01 10:30', 90, 31, 0), (4, 'SKE', 'MAI', '2023-05-01 13:00', 90, NULL, 1),
  (5, 'OLD', 'LUN', '2023-05-02 07:30', 25, 12, 0), (6, 'LUN', 'OLD', '2023-05-02 08:30', 25, 18, 0),
  (7, 'MAI', 'LUN', '2023-06-01 08:00', 45, 240, 0), (8, 'MAI', 'SKE', '2023-06-01 10:30', 95, 77, 0);
