//! The server: the app with the middleware around its routes, and its run on a socket.

use std::net::TcpListener;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, Protocol};
use actix_server::{GracefulShutdownSignal, Server};
use actix_service::{IntoServiceFactory as _, ServiceFactoryExt as _, fn_service, map_config};
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, Extensions, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::{Compress, Condition, from_fn};
use actix_web::rt::net::TcpStream;
use actix_web::rt::signal::unix::{SignalKind, signal};
use actix_web::{Error, rt, web};

use crate::http::app::App;
use crate::http::connection::{Connection, attend, until_written};
use crate::http::observe::observe;
use crate::http::{accept, answers, cors, routes};
use crate::jobs;
use crate::webhooks::Notifier;

/// Time limit for the requests in progress when the server stops. A commit takes milliseconds. A
/// body may take a minute, but its client will retry elsewhere.
const STOP_TIME_SECONDS_MAX: u64 = 30;

/// Maximum number of open connections. Each takes at most 28 KiB that are not counted elsewhere: 8
/// KiB read, 16 KiB to be written, and its tasks and timers. Together that is 224 MiB.
const CONNECTIONS_MAX: usize = 8_192;

/// Bytes of an answer that are collected before they are written.
const WRITE_BYTES: usize = 8 << 10;

/// How long a client may take to close a connection that the server has ended.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(1);

/// Number of threads that serve requests: one more than there are processors. While all requests of
/// one thread wait for the same commit, the other threads go on (docs/performance.md has the
/// figures).
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get) + 1
}

/// The app with every route. Around each route: compression as the client accepts it, the headers
/// for pages of other origins, the request id and the log line.
pub fn create_app(
    app: web::Data<App>,
) -> actix_web::App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = Error,
        InitError = (),
    >,
> {
    let origins = &app.options.cors_origins;
    let has_origins = !origins.is_empty();
    let cors = Condition::new(has_origins, cors::cors(origins));
    let preflights = Condition::new(has_origins, from_fn(cors::explain_preflights));
    actix_web::App::new()
        .app_data(app)
        .configure(routes::register)
        .wrap(from_fn(answers::hold))
        .wrap(Compress::default())
        .wrap(from_fn(accept::explain_codings))
        .wrap(cors)
        .wrap(preflights)
        .wrap(from_fn(observe))
        .wrap(from_fn(attend))
}

/// Serves the app on `listener` until the process gets SIGTERM or SIGINT. Then it accepts no more
/// connections, ends the streams, finishes the requests in progress, and returns.
///
/// # Errors
/// If the socket cannot be used or signals cannot be caught.
pub async fn serve(app: web::Data<App>, listener: TcpListener) -> std::io::Result<()> {
    jobs::start(app.clone());
    let notifier = app.notifier().clone();
    notifier.start()?;
    let waking = wake_at_alerts(&app, notifier.clone());
    let workers = workers();
    let server = Server::build();
    let stopping = server.graceful_shutdown_signal();
    let shared = app.clone();
    let server = server
        .workers(workers)
        .max_concurrent_connections(CONNECTIONS_MAX.div_ceil(workers))
        .shutdown_timeout(STOP_TIME_SECONDS_MAX)
        .disable_signals()
        .listen("conn-log", listener, move || http(&shared, &stopping))?
        .run();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let handle = server.handle();
    rt::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        log::info!("stopping: finishing the requests in progress");
        app.stopping.send_replace(true);
        handle.stop(true).await;
    });
    let served = server.await;
    waking.abort();
    web::block(move || notifier.stop()).await.map_err(std::io::Error::other)?;
    served
}

/// Wakes the notifier after each change of an alert in this process. The task holds no store once
/// it is aborted.
fn wake_at_alerts(app: &App, notifier: Arc<Notifier>) -> rt::task::JoinHandle<()> {
    let mut changes = app.store.alert_changes_signal();
    rt::spawn(async move {
        while changes.changed().await.is_ok() {
            notifier.wake();
        }
    })
}

/// HTTP on each connection, over a [`Connection`] with the bounds that actix-http lacks.
fn http(
    app: &web::Data<App>,
    stopping: &GracefulShutdownSignal,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = DispatchError, InitError = ()>
+ use<> {
    let (stopping, patience) = (stopping.clone(), app.patience.clone());
    let factory = create_app(app.clone()).into_factory().map_err(|error| error.error_response());
    let service = HttpService::build()
        // [`Connection`] limits the time of each head, including the first.
        .client_request_timeout(Duration::ZERO)
        .client_disconnect_timeout(CLOSE_TIME_MAX)
        .keep_alive(app.options.keep_alive)
        .h1_write_buffer_size(WRITE_BYTES)
        .graceful_shutdown_signal(move || {
            let stopping = stopping.clone();
            async move { stopping.notified().await }
        })
        .expect(fn_service(until_written))
        .on_connect_ext(|connection: &Connection<TcpStream>, data: &mut Extensions| {
            data.insert(connection.exchange().clone());
        })
        .finish(map_config(factory, |()| AppConfig::default()));
    fn_service(move |socket: TcpStream| {
        let patience = patience.clone();
        async move {
            // Sends the end of a streamed answer without waiting for the acknowledgement of earlier
            // bytes (RFC 9293, section 3.7.4). If the option cannot be set, the socket is closed
            // already.
            socket.set_nodelay(true).ok();
            let address = socket.peer_addr().ok();
            let connection = Connection::new(socket, reset, patience);
            Ok((connection, Protocol::Http1, address))
        }
    })
    .and_then(service)
}

/// Has the socket's end reset the connection.
fn reset(socket: &TcpStream) {
    // If the option cannot be set, the socket is closed already.
    socket.set_zero_linger().ok();
}
