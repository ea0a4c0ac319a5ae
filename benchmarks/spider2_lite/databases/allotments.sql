CREATE TABLE gardener (gardener_id INTEGER, name TEXT, joined DATE);
CREATE TABLE plot (plot_id INTEGER, area_m2 REAL, gardener_id INTEGER);
CREATE TABLE crop (plot_id INTEGER, season INTEGER, plant TEXT, kilograms REAL);
INSERT INTO gardener VALUES (1, 'Rosa Lind', '2011-04-02'), (2, 'Karim Odeh', '2015-09-20'), (3, 'Mei Tan', '2019-03-11'), (4, 'Jo Becker', '2020-01-05');
INSERT INTO plot VALUES (1, 120.5, 1), (2, 80.0, 1), (3, 95.25, 2), (4, 60.0, 3), (5, 60.0, NULL);
INSERT INTO crop VALUES
  (1, 2021, 'potato', 210.5), (1, 2022, 'potato', 180.0), (1, 2022, 'bean', 24.5), (2, 2021, 'leek', 31.0), (2, 2022, 'leek', NULL),
  (3, 2021, 'potato', 150.0), (3, 2022, 'pumpkin', 66.0), (4, 2021, 'bean', 12.0), (4, 2022, 'potato', 99.0);
