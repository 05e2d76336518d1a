DROP TABLE index_blocks;
DROP TABLE index_runs;
