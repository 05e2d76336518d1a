//! The state shared by all handlers: the store, the tokens seen, the limits.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};

use actix_web::web::Bytes;
use actix_web::{HttpRequest, web};
use conn_log_store::{Store, StoreError};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::http::answers::AnswerRoom;
use crate::http::auth::Tokens;
use crate::http::connection::Patience;
use crate::http::options::ApiOptions;
use crate::http::problem::Problem;
use crate::http::rate_limits::{AuthFailures, EventRates};
use crate::http::room::Room;
use crate::ingest::appender::Appender;
use crate::log::stream_hub::StreamHubs;
use crate::running::metrics::Metrics;
use crate::webhooks::Notifier;

/// Exports at one time. More would leave no threads and connections for lists and statistics.
const EXPORTS_MAX: usize = 4;

/// Bytes of all request heads beyond 8 KiB each, with the bytes that arrived together with them.
const HEADS_BYTES_MAX: usize = 24 << 20;

/// Bytes waiting for the clients of all streams: enough for 270 streams with the most that one
/// stream may have waiting. Further streams wait and hold nothing.
const STREAMS_BYTES_MAX: usize = 24 << 20;

const CATCH_UPS_MAX: usize = 4;
const STATISTICS_MAX: usize = 4;
const PREVIEWS_MAX: usize = 2;

/// Large statistics being sent at one time. Each holds up to 20 MB of groups, or 30 MB of JSON,
/// until it is sent.
const STATISTICS_SENT_MAX: usize = 8;

/// The state of one server, shared by all its workers.
pub struct App {
    pub(crate) store: Store,
    /// The target of registered events: the store, except in tests.
    pub(crate) appender: Box<dyn Appender>,
    pub(crate) tokens: Tokens,
    pub(crate) options: ApiOptions,
    /// The time limits of connections, and the room for long heads.
    pub(crate) patience: Patience,
    /// Room for the bodies of all requests together.
    pub(crate) body_room: Room,
    pub(crate) answer_room: AnswerRoom,
    pub(crate) metrics: Metrics,
    pub(crate) event_rates: EventRates,
    pub(crate) auth_failures: AuthFailures,
    pub(crate) stream_hubs: StreamHubs,
    pub(crate) notifier: Arc<Notifier>,
    /// Permits for exports. Each export holds a thread of the blocking pool.
    pub(crate) exports: Arc<Semaphore>,
    /// Permits for streams to read from the table: fewer than there are database connections.
    pub(crate) catch_ups: Arc<Semaphore>,
    /// Permits for statistics queries. Each query may hold some hundred MB of groups.
    pub(crate) statistics: Arc<Semaphore>,
    /// Permits for large statistics being sent.
    pub(crate) statistics_sent: Arc<Semaphore>,
    /// Permits for previews of rules. Each reads for up to some seconds, and keeps its groups.
    pub(crate) previews: Arc<Semaphore>,
    /// Permit to measure the lag of derived data: one measurement at a time, for any number of
    /// requests for the metrics.
    pub(crate) lag_looks: Arc<Semaphore>,
    /// Permits for the bytes that streams have sent and clients have not read yet, in KiB.
    pub(crate) stream_room: Arc<Semaphore>,
    /// Number of open streams.
    pub(crate) streams: Arc<AtomicUsize>,
    /// The OpenAPI document, made at the first request for it.
    pub(crate) openapi: OnceLock<Result<Bytes, serde_json::Error>>,
    /// Becomes true when the server is to stop. Answers without an end, such as streams, end then.
    pub(crate) stopping: watch::Sender<bool>,
}

impl App {
    /// A server on `store`. The store reports its commits to the same `metrics`.
    pub fn new(store: Store, options: ApiOptions, metrics: Metrics) -> web::Data<App> {
        Self::with_appender(Box::new(store.clone()), store, options, metrics)
    }

    /// Like [`App::new`], but registered events go to `appender` and not to the store.
    pub fn with_appender(
        appender: Box<dyn Appender>,
        store: Store,
        options: ApiOptions,
        metrics: Metrics,
    ) -> web::Data<App> {
        web::Data::new(App {
            appender,
            tokens: Tokens::new(store.clone()),
            patience: Patience {
                head_time_max: options.head_time_max,
                idle_time_max: options.keep_alive,
                answer_pause_max: options.answer_pause_max,
                heads: Room::new(HEADS_BYTES_MAX),
            },
            body_room: Room::new(options.bodies_bytes_max),
            answer_room: AnswerRoom::new(),
            notifier: Notifier::new(store.clone(), &options, metrics.deliveries()),
            metrics,
            event_rates: EventRates::new(options.default_rate),
            auth_failures: AuthFailures::new(options.auth_failures_per_minute),
            stream_hubs: StreamHubs::new(store.clone()),
            exports: Arc::new(Semaphore::new(EXPORTS_MAX)),
            catch_ups: Arc::new(Semaphore::new(CATCH_UPS_MAX)),
            statistics: Arc::new(Semaphore::new(STATISTICS_MAX)),
            statistics_sent: Arc::new(Semaphore::new(STATISTICS_SENT_MAX)),
            previews: Arc::new(Semaphore::new(PREVIEWS_MAX)),
            lag_looks: Arc::new(Semaphore::new(1)),
            stream_room: Arc::new(Semaphore::new(STREAMS_BYTES_MAX >> 10)),
            streams: Arc::default(),
            openapi: OnceLock::new(),
            stopping: watch::Sender::new(false),
            options,
            store,
        })
    }

    /// Tells webhooks of alerts. [`serve`](crate::serve) runs it.
    pub fn notifier(&self) -> &Arc<Notifier> {
        &self.notifier
    }

    /// The app that received a request.
    #[expect(clippy::expect_used, reason = "`configure` puts it there before any route")]
    pub(crate) fn of(request: &HttpRequest) -> web::Data<App> {
        request.app_data::<web::Data<App>>().expect("configure sets the app").clone()
    }

    /// Queries the store on the blocking pool, because a read may wait for a disk. No caller waits
    /// longer than the time limit of a read: a frozen database would not end the wait by itself.
    pub(crate) async fn read<T, E, F>(&self, question: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        E: Into<Problem> + Send + 'static,
        F: FnOnce(&Store) -> Result<T, E> + Send + 'static,
    {
        let store = self.store.clone();
        let time_max = store.read_time_max();
        match timeout(time_max, web::block(move || question(&store))).await {
            Ok(answer) => answer?.map_err(E::into),
            Err(_) => Err(StoreError::QueryTimeout.into()),
        }
    }
}
