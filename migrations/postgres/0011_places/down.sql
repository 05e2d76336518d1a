-- SQLite's alone: its log gets one number for a key. Both count the same migrations.
SELECT 1;
