-- PostgreSQL has the index behind the log from here on (docs/decisions/012); SQLite's is in the file
-- beside it.
SELECT 1;
