//! The dictionary: numbers for the names that derived data repeats. A committed number never
//! changes within one database, so that a process can cache it for as long as it reaches that
//! database ([`Identity`]).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use diesel::prelude::*;
use foldhash::HashMap;

use super::schema::dictionary;
use crate::engine::{AnyConnection, Home, Identity, KEYS_AT_ONCE, Lease, Wait, upsert};
use crate::error::StoreError;
use crate::tenant_id::TenantId;

/// Some names of a tenant, in both directions.
#[derive(Debug, Default)]
pub(crate) struct Names {
    numbers: HashMap<String, i32>,
    texts: HashMap<i32, String>,
    /// The number of temporary numbers, which are given only for this read.
    temporary: i32,
    /// The epoch of the database when a transaction gave the numbers.
    epoch: u64,
}

impl Names {
    /// The number of a text. The text must have been looked up before.
    pub(crate) fn number(&self, text: &str) -> i32 {
        self.numbers.get(text).copied().unwrap_or(0)
    }

    /// The text of a number. The number must have been looked up before.
    pub(crate) fn text(&self, number: i32) -> &str {
        self.texts.get(&number).map_or("", String::as_str)
    }

    fn insert(&mut self, text: String, number: i32) {
        self.texts.insert(number, text.clone());
        self.numbers.insert(text, number);
    }
}

/// The cache of names used lately, of all tenants.
pub(crate) struct DictionaryCache {
    identity: Arc<Identity>,
    known: Mutex<Known>,
}

/// Names of one epoch of the database.
#[derive(Default)]
struct Known {
    epoch: u64,
    names: HashMap<TenantId, HashMap<String, i32>>,
}

/// Limit of cached names, each some 100 bytes: even with all devices of a big fleet tens of MB.
const REMEMBERED_MAX: usize = 200_000;

impl DictionaryCache {
    pub(crate) fn new(identity: Arc<Identity>) -> Self {
        DictionaryCache { identity, known: Mutex::default() }
    }

    /// Caches names that a committed transaction has found or added. Those of a database that is
    /// not there any more are left out.
    pub(crate) fn remember(&self, tenant: TenantId, names: &Names) {
        let mut known = self.current();
        if known.epoch != names.epoch {
            return;
        }
        let cache = &mut known.names;
        let count: usize = cache.values().map(HashMap::len).sum();
        if count + names.numbers.len() > REMEMBERED_MAX {
            cache.clear();
        }
        let known = cache.entry(tenant).or_default();
        for (text, number) in &names.numbers {
            if *number < TEMPORARY && !known.contains_key(text) {
                known.insert(text.clone(), *number);
            }
        }
    }

    /// The epoch of the database that a transaction writes to. On SQLite names are in the second
    /// file, which is not restored.
    fn epoch_in_txn(&self, connection: &mut AnyConnection) -> Result<u64, StoreError> {
        match connection {
            AnyConnection::Sqlite(_) => Ok(self.identity.epoch()),
            AnyConnection::Postgres(_) => self.identity.look(connection),
        }
    }

    fn take_known<'a>(
        &self,
        tenant: TenantId,
        texts: impl IntoIterator<Item = &'a str>,
        names: &mut Names,
    ) -> Vec<&'a str> {
        let current = self.current();
        let known = current.names.get(&tenant);
        let mut missing = Vec::new();
        for text in texts {
            match known.and_then(|known| known.get(text)) {
                Some(number) => names.insert(text.to_owned(), *number),
                None => missing.push(text),
            }
        }
        missing
    }

    /// The names of this epoch; those of another are dropped.
    fn current(&self) -> MutexGuard<'_, Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let epoch = self.identity.epoch();
        if known.epoch != epoch {
            *known = Known { epoch, ..Known::default() };
        }
        known
    }
}

/// From this number on, numbers stand for texts that are not in the table, within one read.
const TEMPORARY: i32 = 1 << 30;

fn last_number(connection: &mut AnyConnection, tenant: TenantId) -> QueryResult<i32> {
    let last: Option<i32> = dictionary::table
        .filter(dictionary::tenant_id.eq(tenant.0))
        .select(diesel::dsl::max(dictionary::number))
        .first(connection)?;
    Ok(last.unwrap_or(0))
}

/// The lease to add numbers in one log, besides the leases of the followers that need them.
fn lease(tenant: TenantId) -> Lease {
    Lease { tenant, name: "dictionary", version: 1, setting: 0, home: Home::Rebuildable }
}

/// Finds the numbers of those names. A name without a number gets the next one.
pub(crate) fn give_in_txn(
    connection: &mut AnyConnection,
    tenant: TenantId,
    cache: &DictionaryCache,
    texts: Vec<&str>,
) -> Result<Names, StoreError> {
    // Rows with numbers of another database would be wrong for good: so the look is within the
    // transaction that writes them.
    let mut found = Names { epoch: cache.epoch_in_txn(connection)?, ..Names::default() };
    let unknown = look_up(connection, tenant, cache, texts, &mut found)?;
    if unknown.is_empty() {
        return Ok(found);
    }
    // The holder of this lease waits for no other lock.
    connection.lease_in_txn(lease(tenant), Wait::Yes)?;
    let unknown = look_up_rows(connection, tenant, unknown, &mut found)?;
    let last = last_number(connection, tenant)?;
    let mut rows = Vec::with_capacity(unknown.len());
    for (text, number) in unknown.into_iter().zip(last + 1..) {
        rows.push(NameRow { tenant_id: tenant.0, name: text.to_owned(), number });
        found.insert(text.to_owned(), number);
    }
    upsert!(connection, dictionary, &rows, key: (tenant_id, name), set: (number));
    Ok(found)
}

/// Finds the numbers of those names, and keeps the ones found before. A name without a number gets
/// one for this read only.
pub(crate) fn find(
    connection: &mut AnyConnection,
    tenant: TenantId,
    cache: &DictionaryCache,
    texts: impl IntoIterator<Item = impl AsRef<str>>,
    found: &mut Names,
) -> QueryResult<()> {
    let texts: Vec<_> = texts.into_iter().collect();
    let texts: BTreeSet<&str> = texts.iter().map(AsRef::as_ref).collect();
    let new = texts.into_iter().filter(|text| !found.numbers.contains_key(*text)).collect();
    for text in look_up(connection, tenant, cache, new, found)? {
        found.insert(text.to_owned(), TEMPORARY + found.temporary);
        found.temporary += 1;
    }
    Ok(())
}

/// The texts that are not names: neither among those found before nor in the table.
pub(crate) fn unknown(
    connection: &mut AnyConnection,
    tenant: TenantId,
    cache: &DictionaryCache,
    texts: &[String],
    found: &Names,
) -> QueryResult<Vec<String>> {
    let is_new = |text: &&str| !found.numbers.contains_key(*text);
    let new = texts.iter().map(String::as_str).filter(is_new).collect();
    let unknown = look_up(connection, tenant, cache, new, &mut Names::default())?;
    Ok(unknown.into_iter().map(str::to_owned).collect())
}

/// Finds the texts of those numbers, and keeps the ones found before.
pub(crate) fn find_texts(
    connection: &mut AnyConnection,
    tenant: TenantId,
    numbers: impl IntoIterator<Item = i32>,
    found: &mut Names,
) -> QueryResult<()> {
    let wanted: BTreeSet<i32> =
        numbers.into_iter().filter(|number| !found.texts.contains_key(number)).collect();
    let wanted: Vec<i32> = wanted.into_iter().collect();
    for some in wanted.chunks(KEYS_AT_ONCE) {
        let rows: Vec<(String, i32)> = dictionary::table
            .filter(dictionary::tenant_id.eq(tenant.0))
            .filter(dictionary::number.eq_any(some.iter().copied()))
            .select((dictionary::name, dictionary::number))
            .load(connection)?;
        for (text, number) in rows {
            found.insert(text, number);
        }
    }
    Ok(())
}

#[derive(Insertable)]
#[diesel(table_name = dictionary, treat_none_as_default_value = false)]
struct NameRow {
    tenant_id: i32,
    name: String,
    number: i32,
}

/// Looks names up, and returns those without a number.
fn look_up<'a>(
    connection: &mut AnyConnection,
    tenant: TenantId,
    cache: &DictionaryCache,
    texts: Vec<&'a str>,
    found: &mut Names,
) -> QueryResult<Vec<&'a str>> {
    let missing = cache.take_known(tenant, texts, found);
    look_up_rows(connection, tenant, missing, found)
}

/// Looks names up in the table and not in the cache.
fn look_up_rows<'a>(
    connection: &mut AnyConnection,
    tenant: TenantId,
    missing: Vec<&'a str>,
    found: &mut Names,
) -> QueryResult<Vec<&'a str>> {
    for some in missing.chunks(KEYS_AT_ONCE) {
        let rows: Vec<(String, i32)> = dictionary::table
            .filter(dictionary::tenant_id.eq(tenant.0))
            .filter(dictionary::name.eq_any(some.iter().copied()))
            .select((dictionary::name, dictionary::number))
            .load(connection)?;
        for (text, number) in rows {
            found.insert(text, number);
        }
    }
    Ok(missing.into_iter().filter(|text| !found.numbers.contains_key(*text)).collect())
}
