DROP INDEX sessions_pair;
