//! The server itself: the app with all that surrounds its routes, and its life on a socket.

use std::net::TcpListener;
use std::num::NonZero;
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::{Compress, from_fn};
use actix_web::rt::signal::unix::{SignalKind, signal};
use actix_web::{Error, HttpServer, rt, web};

use crate::http::app::App;
use crate::http::observe::observe;
use crate::http::{accept, routes};
use crate::jobs;

/// A request's head may take this long to arrive.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);

/// How long requests under way may take once the server is to stop. A commit takes milliseconds;
/// a body may take a minute, and its sender will try again elsewhere.
const STOP_TIME_SECONDS_MAX: u64 = 30;

/// Connections open at one time, per worker. Each costs some 10 KiB while it is idle.
const CONNECTIONS_MAX: usize = 25_000;

/// Threads that serve requests: one more than there are processors. While all requests of one wait for the
/// same commit the others go on (docs/performance.md has the figures).
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get) + 1
}

/// The app: every route; around each, compression as the client accepts it, and its id and log
/// line.
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
    actix_web::App::new()
        .app_data(app)
        .configure(routes::register)
        .wrap(Compress::default())
        .wrap(from_fn(accept::explain_codings))
        .wrap(from_fn(observe))
}

/// Serves the app on `listener` until the process is told to stop (SIGTERM or SIGINT): then it
/// takes no more connections, ends the streams, finishes the requests under way, and returns.
///
/// # Errors
/// If the socket cannot be used or signals cannot be caught.
pub async fn serve(app: web::Data<App>, listener: TcpListener) -> std::io::Result<()> {
    jobs::start(app.clone());
    let shared = app.clone();
    let server = HttpServer::new(move || create_app(shared.clone()))
        .client_request_timeout(HEAD_TIME_MAX)
        .shutdown_timeout(STOP_TIME_SECONDS_MAX)
        .workers(workers())
        .max_connections(CONNECTIONS_MAX)
        // What a streamed answer ends with waits for no acknowledgement of what came before (RFC 9293,
        // section 3.7.4).
        .tcp_nodelay(true)
        .disable_signals()
        .listen(listener)?
        .run();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let handle = server.handle();
    rt::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        log::info!("stopping: what was accepted is being finished");
        app.stopping.send_replace(true);
        handle.stop(true).await;
    });
    server.await
}
