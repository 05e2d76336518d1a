-- SQLite's alone: it moves what is derived into a file of its own. Both count the same migrations.
SELECT 1;
