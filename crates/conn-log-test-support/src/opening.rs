//! A test's database, opened by the store.

use conn_log_store::{DatabaseUrl, Store, StoreOptions};

use crate::{Cluster, TestDatabase};

impl TestDatabase {
    /// Its URL, as the store takes it.
    pub fn database_url(&self) -> DatabaseUrl {
        self.url().parse().unwrap()
    }

    /// The usual options of a store on it.
    pub fn options(&self) -> StoreOptions {
        StoreOptions::new(self.database_url())
    }

    /// A store on it, brought up to date.
    pub fn open(&self) -> Store {
        Store::open(self.options()).unwrap()
    }
}

impl Cluster {
    /// The usual options of a store on its first database.
    pub fn options(&self) -> StoreOptions {
        StoreOptions::new(self.url().parse().unwrap())
    }
}
