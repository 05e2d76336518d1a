//! Opens a test's database with the store.

use conn_log_store::{DatabaseUrl, Store, StoreOptions};

use crate::{Cluster, TestDatabase};

impl TestDatabase {
    /// The database's URL in the store's type. On PostgreSQL the store's statements are recorded, and
    /// held against the rules of [`guard`](crate::guard) at the end of the test.
    pub fn database_url(&self) -> DatabaseUrl {
        self.recorded_url().parse().unwrap()
    }

    /// The usual options of a store on this database.
    pub fn options(&self) -> StoreOptions {
        StoreOptions::new(self.database_url())
    }

    /// A store on this database, with its migrations applied.
    pub fn open(&self) -> Store {
        Store::open(self.options()).unwrap()
    }
}

impl Cluster {
    /// The usual options of a store on the cluster's first database.
    pub fn options(&self) -> StoreOptions {
        StoreOptions::new(self.url().parse().unwrap())
    }
}
