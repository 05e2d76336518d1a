//! What every handler may reach: the store, the tokens seen, the limits.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

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

/// Exports at one time. More would leave lists and statistics without threads and connections.
const EXPORTS_MAX: usize = 4;

/// Bytes of all heads, and of what came along with them, beyond 8 KiB of each.
const HEADS_BYTES_MAX: usize = 24 << 20;

/// Bytes that wait for the clients of all streams: for 270 of them as much as one may have waiting. The others
/// wait, and hold nothing.
const STREAMS_BYTES_MAX: usize = 24 << 20;

const CATCH_UPS_MAX: usize = 4;
const STATISTICS_MAX: usize = 4;

/// Large statistics being sent at one time: each holds up to 20 MB of groups until it is, or 30 MB of JSON.
const STATISTICS_SENT_MAX: usize = 8;

/// The state of one server, shared by all its workers.
pub struct App {
    pub(crate) store: Store,
    /// Where registered events go: the store, if it is no test.
    pub(crate) appender: Box<dyn Appender>,
    pub(crate) tokens: Tokens,
    pub(crate) options: ApiOptions,
    /// What connections keep to.
    pub(crate) patience: Patience,
    /// Room for the bodies of all requests together.
    pub(crate) body_room: Room,
    pub(crate) answer_room: AnswerRoom,
    pub(crate) metrics: Metrics,
    pub(crate) event_rates: EventRates,
    pub(crate) auth_failures: AuthFailures,
    pub(crate) stream_hubs: StreamHubs,
    /// Exports that may run at the same time: each holds a thread of the blocking pool.
    pub(crate) exports: Arc<Semaphore>,
    /// Streams that may read from the table at the same time: fewer than there are connections.
    pub(crate) catch_ups: Arc<Semaphore>,
    /// Questions for statistics at the same time: each may hold some hundred MB of groups.
    pub(crate) statistics: Arc<Semaphore>,
    /// Large statistics being sent.
    pub(crate) statistics_sent: Arc<Semaphore>,
    /// Looks at how far what is derived is behind: one at a time, however many ask for the meters.
    pub(crate) lag_looks: Arc<Semaphore>,
    /// What streams have handed on and nobody has taken yet, in KiB.
    pub(crate) stream_room: Arc<Semaphore>,
    /// Streams open at this moment.
    pub(crate) streams: Arc<AtomicUsize>,
    /// Turns true once the server is to stop: what would go on for ever ends then.
    pub(crate) stopping: watch::Sender<bool>,
}

impl App {
    /// A server on `store`, which tells its commits to the same `metrics`.
    pub fn new(store: Store, options: ApiOptions, metrics: Metrics) -> web::Data<App> {
        Self::with_appender(Box::new(store.clone()), store, options, metrics)
    }

    /// The same, but that registered events go to `appender` and not to the store.
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
            metrics,
            event_rates: EventRates::new(options.default_rate),
            auth_failures: AuthFailures::new(options.auth_failures_per_minute),
            stream_hubs: StreamHubs::new(store.clone()),
            exports: Arc::new(Semaphore::new(EXPORTS_MAX)),
            catch_ups: Arc::new(Semaphore::new(CATCH_UPS_MAX)),
            statistics: Arc::new(Semaphore::new(STATISTICS_MAX)),
            statistics_sent: Arc::new(Semaphore::new(STATISTICS_SENT_MAX)),
            lag_looks: Arc::new(Semaphore::new(1)),
            stream_room: Arc::new(Semaphore::new(STREAMS_BYTES_MAX >> 10)),
            streams: Arc::default(),
            stopping: watch::Sender::new(false),
            options,
            store,
        })
    }

    /// The app that a request came to.
    #[expect(clippy::expect_used, reason = "`configure` puts it there before any route")]
    pub(crate) fn of(request: &HttpRequest) -> web::Data<App> {
        request.app_data::<web::Data<App>>().expect("configure sets the app").clone()
    }

    /// Asks the store, off the workers: a read may wait for a disk. No caller waits longer than a read may take: a
    /// database that is frozen ends none by itself.
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
