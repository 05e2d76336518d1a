-- PostgreSQL's alone: here addresses are in the index behind the log. Both count the same migrations.
SELECT 1;
