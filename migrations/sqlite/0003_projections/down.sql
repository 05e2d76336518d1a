DROP TABLE rollups;
DROP TABLE sessions;
DROP TABLE application_devices;
DROP TABLE applications;
DROP TABLE devices;
DROP TABLE names;
DROP TABLE projections;
