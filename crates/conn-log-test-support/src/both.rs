//! A test that runs on both databases.

/// Runs each body as two tests, `…::sqlite` and `…::postgres`, on a fresh [`TestDatabase`].
///
/// ```
/// # use conn_log_test_support::*;
/// on_both_databases! {
///     /// The first event gets the id 1.
///     async fn the_first_id_is_1(db) {
///         let appended = append(&db.open(), events("dev", 1)).await.unwrap();
///         assert_eq!(ids(&appended), [1]);
///     }
/// }
/// ```
///
/// The crate that uses it needs tokio with its features `macros` and `rt-multi-thread`.
///
/// [`TestDatabase`]: crate::TestDatabase
#[macro_export]
macro_rules! on_both_databases {
    ($($(#[$attribute:meta])* async fn $name:ident($db:ident) $body:block)*) => {$(
        $(#[$attribute])*
        mod $name {
            #[allow(unused_imports, reason = "not every body uses all of its file's names")]
            use super::*;

            async fn run(backend: $crate::Backend) {
                if let Some($db) = $crate::TestDatabase::new(backend) {
                    $body
                }
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn sqlite() {
                run($crate::Backend::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn postgres() {
                run($crate::Backend::Postgres).await;
            }
        }
    )*};
}
