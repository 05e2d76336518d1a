// The fastest honest way to put rows into a SQLite file: one prepared INSERT, run for each row, in
// transactions. The same library as conn-log's, with the settings of its writer.
//
//   bench-raw-inserts DATABASE TABLE COLUMNS ROWS ROWS_IN_A_TRANSACTION
//
// ROWS is a file of lines, their values separated by tabs: \N is NULL, \x… a blob in hexadecimal,
// other values are taken by the type that the column is declared with. It is read before the clock
// starts. Prints rows a second.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sqlite3.h"

#define COLUMNS_MAX 32

static void fail(sqlite3 *db, const char *what) {
    fprintf(stderr, "bench-raw-inserts: %s: %s\n", what, db ? sqlite3_errmsg(db) : "");
    exit(1);
}

static void run(sqlite3 *db, const char *sql) {
    if (sqlite3_exec(db, sql, 0, 0, 0) != SQLITE_OK) fail(db, sql);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static char *read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) fail(0, path);
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    char *text = malloc(size + 1);
    if (!text || fread(text, 1, size, file) != (size_t)size) fail(0, path);
    text[size] = 0;
    fclose(file);
    return text;
}

static void bind(sqlite3_stmt *insert, int column, char type, char *value, char *end) {
    static unsigned char blob[64];
    if (value[0] == '\\' && value[1] == 'N') {
        sqlite3_bind_null(insert, column);
    } else if (value[0] == '\\' && value[1] == 'x') {
        int size = 0;
        for (char *hex = value + 2; hex < end && size < 64; hex += 2) {
            char pair[3] = {hex[0], hex[1], 0};
            blob[size++] = (unsigned char)strtol(pair, 0, 16);
        }
        sqlite3_bind_blob(insert, column, blob, size, SQLITE_TRANSIENT);
    } else if (type == 'I') {
        sqlite3_bind_int64(insert, column, strtoll(value, 0, 10));
    } else if (type == 'R') {
        sqlite3_bind_double(insert, column, strtod(value, 0));
    } else {
        sqlite3_bind_text(insert, column, value, (int)(end - value), SQLITE_STATIC);
    }
}

int main(int argc, char **argv) {
    if (argc != 6) fail(0, "DATABASE TABLE COLUMNS ROWS ROWS_IN_A_TRANSACTION");
    char *next = read_file(argv[4]);
    long in_a_transaction = atol(argv[5]);

    sqlite3 *db;
    if (sqlite3_open(argv[1], &db) != SQLITE_OK) fail(db, argv[1]);
    run(db,
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -16384;"
        "PRAGMA wal_autocheckpoint = 4096; PRAGMA journal_size_limit = 67108864;");

    char sql[512], types[COLUMNS_MAX];
    sqlite3_stmt *columns, *insert;
    snprintf(sql, sizeof sql, "SELECT %s FROM %s", argv[3], argv[2]);
    if (sqlite3_prepare_v2(db, sql, -1, &columns, 0) != SQLITE_OK) fail(db, sql);
    int count = sqlite3_column_count(columns);
    int length = snprintf(sql, sizeof sql, "INSERT INTO %s (%s) VALUES (?", argv[2], argv[3]);
    for (int column = 0; column < count; column++) {
        types[column] = sqlite3_column_decltype(columns, column)[0];
        if (column > 0) length += snprintf(sql + length, sizeof sql - length, ",?");
    }
    snprintf(sql + length, sizeof sql - length, ")");
    sqlite3_finalize(columns);
    if (sqlite3_prepare_v2(db, sql, -1, &insert, 0) != SQLITE_OK) fail(db, sql);

    double begun = now();
    long rows = 0;
    while (*next) {
        if (rows % in_a_transaction == 0) run(db, rows ? "COMMIT; BEGIN IMMEDIATE" : "BEGIN IMMEDIATE");
        for (int column = 0; column < count; column++) {
            char *end = next + strcspn(next, "\t\n");
            bind(insert, column + 1, types[column], next, end);
            next = *end ? end + 1 : end;
        }
        if (sqlite3_step(insert) != SQLITE_DONE) fail(db, "INSERT");
        sqlite3_reset(insert);
        rows++;
    }
    run(db, "COMMIT");
    double seconds = now() - begun;
    printf("events_per_second=%.0f seconds=%.2f rows=%ld\n", rows / seconds, seconds, rows);
    sqlite3_finalize(insert);
    return sqlite3_close(db) != SQLITE_OK;
}
