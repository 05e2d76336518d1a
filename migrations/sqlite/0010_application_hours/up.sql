-- Hours of applications have a table of their own on PostgreSQL from here on; SQLite's is in the file
-- beside the log.
SELECT 1;
