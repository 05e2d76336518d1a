-- Comments stay: they change nothing.
SELECT 1;
