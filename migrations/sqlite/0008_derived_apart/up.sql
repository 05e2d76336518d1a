-- What is derived moves into a file of its own (docs/decisions/011), where it is derived anew.
DROP TABLE rollups;
DROP TABLE sessions;
DROP TABLE application_devices;
DROP TABLE applications;
DROP TABLE devices;
DROP TABLE names;
DROP TABLE projections;
DROP TABLE index_blocks;
DROP TABLE index_runs;
